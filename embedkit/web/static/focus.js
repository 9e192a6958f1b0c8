// An element that is redrawn, hidden or disabled loses the keyboard to the page's start.

/** Gives the keyboard to a place, if nothing that can be seen has it. */
export function catchFocus(place) {
  const at = document.activeElement;
  const has = at && at !== document.body && !at.disabled && at.getClientRects().length;
  if (!has) place.focus({ preventScroll: true });
}
