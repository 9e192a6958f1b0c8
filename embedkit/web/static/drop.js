// A sound from outside as a query: dropped anywhere, chosen, or recorded.

import { addressOf, go } from "./address.js";
import { upload } from "./api.js";
import { mention, trying } from "./state.js";

const LONGEST_MS = 10_000;  // of a recording
const target = document.getElementById("search-drop");
const file = document.getElementById("search-file");
const record = document.getElementById("search-record");

let recorder;

async function ask(blob, name) {
  mention(`Listening to ${name} …`, { stays: true });
  const found = await trying(() => upload(blob));
  mention("");
  if (found) go(addressOf("search", { upload: `${found.upload}:${name}` }));
}

async function listen() {
  if (recorder) {
    recorder.stop();
    return;
  }
  await trying(async () => {
    if (!navigator.mediaDevices) throw new Error("this browser lets no page record here");
    const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    const parts = [];
    const mine = new MediaRecorder(stream);
    recorder = mine;
    record.textContent = "Stop recording";
    mine.addEventListener("dataavailable", (event) => parts.push(event.data));
    mine.addEventListener("stop", () => {
      stream.getTracks().forEach((track) => track.stop());
      recorder = undefined;
      record.textContent = "Record";
      ask(new Blob(parts), "recording");
    });
    mine.start();
    setTimeout(() => mine.state === "recording" && mine.stop(), LONGEST_MS);
  });
}

target.addEventListener("click", () => file.click());
file.addEventListener("change", () => {
  if (file.files.length) ask(file.files[0], file.files[0].name);
  file.value = "";
});
record.addEventListener("click", listen);
for (const kind of ["dragover", "dragleave", "drop"]) {
  window.addEventListener(kind, (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;  // a sound of the page's own
    event.preventDefault();
    target.classList.toggle("over", kind === "dragover");
    const [dropped] = kind === "drop" ? event.dataTransfer.files : [];
    if (dropped) ask(dropped, dropped.name);
  });
}
