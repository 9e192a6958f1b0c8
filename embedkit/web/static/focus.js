// An element that is redrawn, hidden or disabled loses the keyboard to the page's start.

/** Gives the keyboard to a place, if nothing that can be seen has it but a view as a whole. */
export function catchFocus(place) {
  const at = document.activeElement;
  const has = at && !at.matches("body, [role=tabpanel], :disabled") && at.getClientRects().length;
  if (!has) place.focus({ preventScroll: true });
}
