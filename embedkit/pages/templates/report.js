"use strict";
// Shows the cards alone that have a text in their name, their label or what is heard. The names are
// those of other people's files: they are read as text, and never written as anything else.
const cards = [...document.querySelectorAll("#nearest > .card")];
const find = document.getElementById("find"), said = document.getElementById("said");
const texts = cards.map((card) => [...card.querySelectorAll("h4, .clip")]
  .map((each) => each.textContent.toLowerCase()));
find.addEventListener("input", () => {
  const wanted = find.value.trim().toLowerCase();
  cards.forEach((card, number) => {
    card.hidden = !texts[number].some((text) => text.includes(wanted));
  });
  const count = cards.filter((card) => !card.hidden).length;
  said.textContent = wanted ? `${count} of ${cards.length} have ${find.value.trim()}` : "";
});
document.getElementById("tools").hidden = !cards.length;
