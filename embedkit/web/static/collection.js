// What the collection is, what is wrong with it, and where its vectors come from.

import { get } from "./api.js";
import { makeCard } from "./cards.js";
import { state, trying } from "./state.js";

const byId = (name) => document.getElementById(`collection-${name}`);

const length = (hours) => (hours < 1
  ? `${Math.round(60 * hours).toLocaleString()} minutes` : `${hours.toFixed(1)} hours`);

function list(place, facts) {
  place.replaceChildren(...facts.flatMap(([name, value]) => {
    const [term, text] = [document.createElement("dt"), document.createElement("dd")];
    term.textContent = name;
    text.textContent = value;
    return [term, text];
  }));
}

export function start() {
  const { facts } = state;
  const kinds = Object.entries(facts.errors).map(([kind, n]) => `${n} ${kind}`);
  list(byId("facts"), [
    ["Name", facts.folder],
    ["Sounds", facts.clips.toLocaleString()],
    ["Length of all", length(facts.hours)],
    ["Not read whole", kinds.join(", ") || "none"],
    ["Labels are saved in", facts.labels_file],
  ]);
  list(byId("advanced"), [
    ["Files", facts.files.toLocaleString()],
    ["Segments", `${facts.segments.toLocaleString()}, of ${facts.segment_s} s, every ${facts.hop_s} s`],
    ["Numbers a segment", facts.sizes.at(-1).toLocaleString()],
    ["Model", facts.model],
    ["Fingerprint", facts.fingerprint],
    ["Runtime", facts.runtime],
  ]);
  const failed = byId("failed");
  failed.textContent = facts.failed.length ? "" : "None.";
  for (const each of facts.failed) {
    const line = document.createElement("p");
    line.textContent = `${each.clip}: ${each.kind}: ${each.message}`;
    failed.append(line);
  }
  byId("find").addEventListener("click", findPairs);
}

async function findPairs() {
  const place = byId("pairs");
  byId("said").textContent = "Comparing …";
  const pairs = await trying(() => get("duplicates"));
  const count = pairs?.length ?? 0;
  byId("said").textContent = !pairs ? "" : `${count || "No"} ${count === 1 ? "pair" : "pairs"}.`;
  place.replaceChildren();
  for (const { similarity, one, other } of pairs ?? []) {
    const line = document.createElement("div");
    line.className = "pair";
    line.append(makeCard({ ...one, similarity }), makeCard({ ...other, similarity }));
    place.append(line);
  }
}
