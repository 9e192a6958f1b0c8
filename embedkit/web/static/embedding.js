// Sounds that have no vectors yet: how far the server is, until the collection is there.

import { enter } from "./api.js";

const EACH_MS = 1000;
const byId = (name) => document.getElementById(`embedding-${name}`);

/** The facts of the collection, once it is there. */
export async function whenEmbedded() {
  for (;;) {
    const facts = await enter();
    document.getElementById("embedding").hidden = !facts.embedding;
    if (!facts.embedding) return facts;
    draw(facts.embedding);
    await new Promise((done) => { setTimeout(done, EACH_MS); });
  }
}

function draw({ done, total, failed, seconds_of_audio: heard }) {
  const bar = byId("progress");
  if (total) {
    bar.max = total;
    bar.value = done;
  }
  const percent = total ? Math.floor((100 * done) / total) : 0;
  const broken = failed ? `; ${failed.toLocaleString()} cannot be read` : "";
  const hours = heard >= 3600 ? `${(heard / 3600).toFixed(1)} hours` : `${Math.round(heard / 60)} minutes`;
  byId("said").textContent = total
    ? `${done.toLocaleString()} of ${total.toLocaleString()} sounds, ${hours}${broken}`
    : "Looking for sounds …";
  document.title = total ? `${percent} % · Listening to your sounds · embedkit` : "embedkit";
}
