// What a browser keeps for its person. One that lets pages keep nothing has none of it.

export function recall(key) {
  try {
    return JSON.parse(localStorage.getItem(key));
  } catch {
    return null;
  }
}

export function store(key, value) {
  try {
    localStorage.setItem(key, JSON.stringify(value));
  } catch {  // until the page is left
  }
}
