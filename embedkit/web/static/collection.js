// What the collection is, what is wrong with it, and where its vectors come from.

import { get } from "./api.js";
import { makeCard } from "./cards.js";
import { state, trying } from "./state.js";

export function start() {
  const { facts } = state;
  const rows = [
    ["Folder", facts.folder],
    ["Files", facts.files.toLocaleString()],
    ["Hours", facts.hours.toFixed(2)],
    ["Segments", facts.segments.toLocaleString()],
    ["Numbers a segment", facts.sizes.at(-1).toLocaleString()],
    ["Segments of", `${facts.segment_s} s, every ${facts.hop_s} s`],
    ["Model", `${facts.model}, ${facts.fingerprint.slice(0, 12)}, by ${facts.runtime}`],
    ["Errors", Object.entries(facts.errors).map(([kind, n]) => `${n} ${kind}`).join(", ") || "none"],
    ["Labels", facts.labels_file],
  ];
  document.getElementById("collection-facts").replaceChildren(
    ...rows.flatMap(([name, value]) => {
      const [term, text] = [document.createElement("dt"), document.createElement("dd")];
      term.textContent = name;
      text.textContent = value;
      return [term, text];
    }));
  const failed = document.getElementById("collection-failed");
  failed.textContent = facts.failed.length ? "" : "None.";
  for (const each of facts.failed) {
    const line = document.createElement("p");
    line.textContent = `${each.clip}: ${each.kind}: ${each.message}`;
    failed.append(line);
  }
  document.getElementById("collection-find").addEventListener("click", findPairs);
}

async function findPairs() {
  const place = document.getElementById("collection-pairs");
  place.textContent = "Comparing …";
  const pairs = await trying(() => get("duplicates"));
  place.textContent = pairs?.length ? "" : "None.";
  for (const { similarity, one, other } of pairs ?? []) {
    const line = document.createElement("div");
    line.className = "pair";
    line.append(makeCard({ ...one, similarity }), makeCard({ ...other, similarity }));
    place.append(line);
  }
}
