// The server shows another collection than this page: the page loads again, and gives back what was
// typed.

const KEPT = "embedkit-kept";
const views = new Map();

const typed = () =>
  document.querySelectorAll("input:not([type]), input[type=text], input[type=number]");

let leaving = false;

// Of the tab; a browser that lets pages keep nothing has none.
export const storage = () => {
  try {
    return sessionStorage;
  } catch {
    return undefined;
  }
};

/** Adds a view: `save` gives what it would lose, `restore` takes it and may answer with words. */
export const keep = (name, save, restore) => views.set(name, { save, restore });

/** Loads the page again; what waits for this never goes on. Not twice without coming back. */
export async function leave() {
  if (!leaving) {
    const kept = { fields: {}, views: {} };
    for (const field of typed()) kept.fields[field.id] = field.value;
    for (const [name, { save }] of views) kept.views[name] = save();
    if (storage()?.getItem(KEPT)) return;
    storage()?.setItem(KEPT, JSON.stringify(kept));
    leaving = true;
    location.reload();
  }
  await new Promise(() => {});
}

/** After such a load: gives back what was kept, and says so; else an empty text. */
export function comeBack() {
  const text = storage()?.getItem(KEPT);
  storage()?.removeItem(KEPT);
  if (!text) return "";
  const kept = JSON.parse(text);
  for (const field of typed()) field.value ||= kept.fields[field.id] ?? "";
  const words = [...views].map(([name, { restore }]) =>
    name in kept.views ? restore(kept.views[name]) : "");
  return ["The server shows another collection by now, or this one has changed, so the page was"
    + " loaded again. Your last action was not carried out; what you typed is still there.",
    ...words].filter((each) => each).join(" ");
}
