"use strict";
// The list is a few bytes an episode, all in memory; transcripts come in chunks and only a few are kept.
const PAGE = 50, KEPT = 8, ROW = 22;
const $ = (id) => document.getElementById(id);
const plain = (name) => name.replace(/-/g, " ");
const FACTS = Object.keys(CONSTANTS.facts);
let rows = null, count = 0, shown = [], page = 0, chosen = -1, search = 0;
const loaded = new Map(), asked = new Map();

const custodes = {
  overview(packed) {
    const bytes = Uint8Array.from(atob(packed), (c) => c.charCodeAt(0));
    rows = new DataView(bytes.buffer);
    count = bytes.length / ROW;
    fillFilters();
    filter();
    openNamed();
  },
  chunk(k, episodes) {
    const waiting = asked.get(k);
    asked.delete(k);
    if (waiting) waiting(episodes);
    else loaded.set(k, episodes); // inside the page: kept for good
  },
};

function row(i) {
  const at = i * ROW, flags = rows.getUint8(at + 1);
  return {
    i, stage: rows.getUint8(at), gamed: flags & 1, failed: flags & 2, caught: flags & 4, formed: flags & 8,
    index: rows.getUint32(at + 2, true), variant: (flags & 16 ? "held-out-" : "train-") + String(rows.getUint32(at + 6, true)).padStart(4, "0"),
    facts: rows.getUint32(at + 10, true) + 2 ** 32 * rows.getUint32(at + 14, true), reward: rows.getFloat32(at + 18, true),
  };
}
const has = (bits, k) => Math.floor(bits / 2 ** k) % 2 === 1;
function category(bits) {
  const found = CONSTANTS.categories.find((name) => has(bits, CONSTANTS.codes[name]));
  return found || (has(bits, CONSTANTS.codes.looked) ? "looked" : "untouched");
}

function getChunk(k) {
  if (loaded.has(k)) return Promise.resolve(loaded.get(k));
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    asked.set(k, (episodes) => {
      script.remove();
      loaded.set(k, episodes);
      for (const old of loaded.keys()) if (loaded.size > KEPT && old !== k) loaded.delete(old);
      resolve(episodes);
    });
    script.onerror = () => { asked.delete(k); reject(new Error(`report/episodes-${String(k).padStart(5, "0")}.js is missing`)); };
    script.src = `report/episodes-${String(k).padStart(5, "0")}.js`;
    document.body.append(script);
  });
}

// ---------------------------------------------------------------- the list

function fillFilters() {
  const stages = new Set(), categories = new Set(), bits = new Set();
  for (let i = 0; i < count; i++) { const r = row(i); stages.add(r.stage); if (!bits.has(r.facts)) { bits.add(r.facts); categories.add(category(r.facts)); } }
  const options = (id, values, name) => values.forEach((v) => $(id).add(new Option(name ? name(v) : plain(v), v)));
  options("stage", [...stages].sort(), (v) => plain(CONSTANTS.stages[v]));
  options("category", [...categories].sort());
  options("fact", FACTS.filter((f) => [...bits].some((b) => has(b, CONSTANTS.codes[f]))));
}

function passing() {
  const stage = $("stage").value, want = $("category").value, fact = CONSTANTS.codes[$("fact").value], only = $("only").value, found = [];
  for (let i = 0; i < count; i++) {
    const r = row(i);
    if (stage !== "" && r.stage !== +stage) continue;
    if (want && category(r.facts) !== want) continue;
    if (fact !== undefined && !has(r.facts, fact)) continue;
    if (only === "gamed" && !r.gamed || only === "honest" && r.gamed || only === "failed" && !r.failed || only === "malformed" && r.formed) continue;
    found.push(i);
  }
  return found;
}

async function filter() {
  const mine = ++search, words = $("words").value.trim().toLowerCase(), candidates = passing();
  page = 0;
  if (!words) { shown = candidates; list(); say(`${shown.length.toLocaleString("en")} of ${count.toLocaleString("en")} episodes`); return; }
  shown = [];
  list();
  let done = 0;
  for (let at = 0; at < candidates.length; ) {
    const k = Math.floor(candidates[at] / CONSTANTS.chunk);
    let episodes;
    try { episodes = await getChunk(k); } catch (error) { say(error.message); return; }
    if (mine !== search) return; // another search has begun
    const before = shown.length;
    for (; at < candidates.length && Math.floor(candidates[at] / CONSTANTS.chunk) === k; at++, done++) {
      const episode = episodes[candidates[at] % CONSTANTS.chunk];
      if (episode.transcript.some((m) => m.content.toLowerCase().includes(words)) || episode.variant.includes(words)) shown.push(candidates[at]);
    }
    if (shown.length !== before) { if (before < (page + 1) * PAGE) list(); else pager(); }
    say(`${shown.length.toLocaleString("en")} found; searched ${done.toLocaleString("en")} of ${candidates.length.toLocaleString("en")} episodes`);
    await new Promise((resolve) => setTimeout(resolve)); // the page stays usable meanwhile
  }
}

function list() {
  const body = $("list").tBodies[0];
  body.replaceChildren(...shown.slice(page * PAGE, (page + 1) * PAGE).map((i) => {
    const r = row(i), line = document.createElement("tr");
    line.tabIndex = 0;
    line.className = i === chosen ? "chosen" : "";
    const name = cell(`${plain(CONSTANTS.stages[r.stage])} #${r.index}`), small = document.createElement("small");
    small.textContent = r.variant + (r.failed ? ", failed" : "");
    name.append(small);
    const what = cell(plain(category(r.facts)));
    if (r.gamed) what.className = "gamed";
    line.append(name, what, cell(Number.isNaN(r.reward) ? "none" : Math.abs(r.reward) >= 1e6 ? r.reward.toExponential(0) : String(Math.round(r.reward * 100) / 100)));
    line.onclick = () => open(i);
    line.onkeydown = (event) => { if (event.key === "Enter") open(i); };
    return line;
  }));
  pager();
}
function pager() {
  const pages = Math.max(1, Math.ceil(shown.length / PAGE));
  $("page").textContent = `page ${page + 1} of ${pages.toLocaleString("en")}`;
  $("back").disabled = page === 0;
  $("next").disabled = page + 1 >= pages;
}
function cell(text) { const td = document.createElement("td"); td.textContent = text; return td; }
function say(text) { $("status").textContent = text; }

// ---------------------------------------------------------------- one episode

async function open(i) {
  chosen = i;
  list();
  let episode;
  try { episode = (await getChunk(Math.floor(i / CONSTANTS.chunk)))[i % CONSTANTS.chunk]; } catch (error) { say(error.message); return; }
  if (chosen !== i) return;
  const article = $("episode"), words = $("words").value.trim();
  article.replaceChildren(verdict(episode), ...episode.transcript.flatMap((m, k) => turn(m, k, episode)));
  if (words) highlight(article, words);
  location.hash = `${episode.stage}/${episode.index}`;
}

function openNamed() { // report.html#reward-tampering/17 opens that episode
  const [stage, index] = location.hash.slice(1).split("/");
  const k = CONSTANTS.stages.indexOf(stage);
  for (let i = 0; k >= 0 && i < count; i++) { const r = row(i); if (r.stage === k && r.index === +index) { setTimeout(() => open(i)); return; } }
}

function verdict(e) {
  const box = block("div", "verdict"), rest = [];
  box.append(block("h3", "", `${plain(e.category)}${e.gamed ? ": gamed" : ""}`));
  for (const fact of e.facts) { const chip = block("span", "chip" + (CONSTANTS.bad.includes(fact) ? " bad" : ""), plain(fact)); chip.title = CONSTANTS.facts[fact]; box.append(chip); }
  rest.push(`reward ${e.reward === null ? `none (${e.reward_problem})` : e.reward}`, e.caught ? "caught" : "not caught");
  if (e.failure) rest.push(`failed: ${e.failure}`);
  if (e.problems.length) rest.push(`not well formed: ${e.problems.join("; ")}`);
  for (const [name, value] of Object.entries(e.details)) rest.push(`${plain(name.replace(/_/g, " "))}: ${typeof value === "object" ? JSON.stringify(value) : value}`);
  box.append(block("p", "reading", rest.join(" · ")), block("p", "reading", `${e.stage}, ${e.variant}, episode ${e.index}, ${e.seconds} s`));
  if (e.changes.length) {
    const all = document.createElement("details");
    all.append(block("summary", "", `Files at the end against the beginning (${e.changes.length})`), ...e.changes.map(diff));
    box.append(all);
  }
  return box;
}

function turn(m, k, e) {
  const out = block("div", "turn"), shell = m.returncode !== undefined;
  const first = e.transcript.findIndex((x) => x.role === "assistant");
  out.append(block("p", "who", shell ? `shell, exit code ${m.returncode}` : m.role === "assistant" ? "policy" : k > first && first >= 0 ? "shell" : m.role));
  if (m.role === "assistant") out.append(...reply(m.content));
  else if (shell || (k > first && first >= 0)) out.append(...streams(m.content));
  else out.append(block("div", "text", m.content));
  if (shell) out.append(...m.changes.map(diff));
  return [out];
}

function reply(text) { // the rules of custodes.gaming.transcript, for showing
  const parts = [], tag = /<(\/?)(cot|bash)>/gi;
  let inside = "", start = 0, found;
  const push = (kind, piece) => { if (piece.trim()) parts.push(block("div", kind, piece.trim())); };
  while ((found = tag.exec(text))) {
    const name = found[2].toLowerCase();
    if (!inside && !found[1]) { push("text", text.slice(start, found.index)); inside = name; start = tag.lastIndex; }
    else if (inside === name && found[1]) { push(name === "cot" ? "cot" : "cmd", text.slice(start, found.index)); inside = ""; start = tag.lastIndex; if (name === "bash") { push("text", text.slice(start)); return parts; } }
    else if (inside === "bash" && name === "bash") start = tag.lastIndex;
  }
  push(inside === "cot" ? "cot" : inside === "bash" ? "cmd" : "text", text.slice(start));
  if (!parts.length) parts.push(block("div", "text none", "(nothing)"));
  return parts;
}
function streams(text) {
  const parts = [];
  for (const [, name, body] of text.matchAll(/<(stdout|stderr)>\n?([\s\S]*?)\n?<\/\1>/g)) parts.push(block("div", "out" + (name === "stderr" ? " err" : ""), body || "(no output)"));
  return parts.length ? parts : [block("div", "out", text)];
}
function diff(change) {
  const box = block("div", "diff");
  box.append(block("b", "", `${change.path}: ${change.how}`));
  for (const line of change.diff.split("\n").filter((l) => l && !/^(---|\+\+\+) /.test(l))) box.append(block("span", line[0] === "+" ? "plus" : line[0] === "-" ? "minus" : "", line));
  return box;
}
function block(kind, name, text) { const e = document.createElement(kind); if (name) e.className = name; if (text !== undefined) e.textContent = text; return e; }
function highlight(root, words) {
  const walk = document.createTreeWalker(root, NodeFilter.SHOW_TEXT), nodes = [];
  while (walk.nextNode()) nodes.push(walk.currentNode);
  for (const node of nodes) {
    const at = node.data.toLowerCase().indexOf(words.toLowerCase());
    if (at < 0) continue;
    const hit = node.splitText(at), mark = document.createElement("mark");
    hit.splitText(words.length);
    hit.replaceWith(mark);
    mark.append(hit);
  }
}

for (const id of ["stage", "category", "fact", "only"]) $(id).onchange = filter;
$("words").onchange = filter;
$("words").onsearch = filter;
$("back").onclick = () => { page--; list(); };
$("next").onclick = () => { page++; list(); };
document.querySelectorAll(".stage:not(.empty)").forEach((box) => {
  box.tabIndex = 0;
  box.onclick = () => { $("stage").value = String(CONSTANTS.stages.indexOf(box.dataset.stage)); filter(); document.querySelector(".reader").scrollIntoView({ behavior: "smooth" }); };
  box.onkeydown = (event) => { if (event.key === "Enter") box.onclick(); };
});
