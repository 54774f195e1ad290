// The page of `counterset review` and `counterset browse`. Text from outside is only ever set as text, never as markup.
"use strict";

const GAP = 10, TILE = 190, CAPTION = 30, AHEAD = 1.5, RETRY_MS = 2000, MAX_BATCH = 1000;
const NO_NAME = "no name";
const byId = (id) => document.getElementById(id);
const S = {
  start: null, use: "browse", reviewer: "", classId: "", sheet: null,
  numbers: [], names: [], words: new Map(), cursor: 0, columns: 1, tile: TILE,
  progress: {}, rows: new Map(), queue: [], isSending: false, history: [], last: null, tiles: new Map(), visit: 0,
};
let reasons = new Map();

const isReview = () => S.use === "review", isBlind = () => S.use === "audit", takesAnswers = () => S.use !== "browse";
const current = () => S.numbers[S.cursor];

async function ask(path, parameters) {
  const query = parameters ? "?" + new URLSearchParams(parameters) : "";
  const answer = await fetch(path + query);
  if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).detail || `the page's server says ${answer.status}`);
  return answer.json();
}

function element(kind, text, className) {
  const made = document.createElement(kind);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function complain(text) {
  byId("banner").textContent = text;
  byId("banner").hidden = !text;
}

// ---- the address remembers where this window is and who is at it

const inAddress = () => new URLSearchParams(location.hash.slice(1));

function keepAddress() {
  const kept = new URLSearchParams({ class: S.classId, kind: S.sheet ? S.sheet.kind : "", name: S.sheet ? S.sheet.name : "" });
  if (S.reviewer) kept.set("reviewer", S.reviewer);
  history.replaceState(null, "", "#" + kept);
}

// ---- classes and sheets

function sheetName(sheet) {
  return { group: sheet.name, none: NO_NAME, left: "not decided yet", sample: "to label", rejects: `turned away, ${sheet.name}` }[sheet.kind];
}

function sheetOf(place) {
  if (isBlind()) return { kind: "sample", name: "drawn" };
  return { kind: place.name === null ? "none" : "group", name: place.name || "" };
}

function classOf(classId) { return S.start.classes.find((one) => one.id === classId); }

function showClasses() {
  const rows = [], options = [];
  S.rows = new Map();
  for (const one of S.start.classes) {
    const button = element("button"), done = element("small"), bar = element("progress"), option = element("option");
    button.type = "button";
    button.append(element("span", one.name), " ", element("small", one.note), " ", done);
    if (takesAnswers()) button.append(bar);
    button.addEventListener("click", () => openClass(one.id));
    option.value = one.id;
    rows.push(button);
    options.push(option);
    S.rows.set(one.id, { one, button, done, bar, option });
  }
  byId("classes").replaceChildren(...rows);
  byId("class-select").replaceChildren(...options);
}

function showProgress() {
  for (const { one, button, done, bar, option } of S.rows.values()) {
    const [decided, total] = S.progress[one.id] || [0, 0], said = takesAnswers() ? `${decided} of ${total}` : "";
    const text = said ? `${one.name} (${said})` : one.name;
    button.setAttribute("aria-current", String(one.id === S.classId));
    option.selected = one.id === S.classId;
    if (option.textContent === text) continue;
    option.textContent = text;
    done.textContent = said;
    bar.max = total || 1;
    bar.value = decided;
  }
  showStatus();
}

function showStatus() {
  const waiting = S.queue.length;
  const [done, total] = S.progress[S.classId] || [0, 0];
  let text = S.numbers.length ? `${S.cursor + 1} of ${S.numbers.length}` : "";
  if (takesAnswers()) text += `${text ? " · " : ""}class ${done} of ${total}${done === total && total ? ": whole" : ""} · ${waiting ? `${waiting} to be kept` : "all kept"}`;
  byId("status").textContent = text;
}

function showSheets() {
  const tabs = classOf(S.classId).sheets.map((sheet) => {
    const tab = element("button", sheetName(sheet) + " ");
    tab.type = "button";
    tab.setAttribute("role", "tab");
    tab.setAttribute("aria-selected", String(sheet === S.sheet));
    tab.append(element("small", (sheet.kind === "left" ? "" : String(sheet.count)) + (sheet.note ? ` ${sheet.note}` : "")));
    tab.addEventListener("click", () => openSheet(sheet));
    return tab;
  });
  byId("sheets").replaceChildren(...tabs);
  const chosen = byId("sheets").querySelector('[aria-selected="true"]');
  if (chosen) chosen.scrollIntoView({ block: "nearest", inline: "nearest" });
}

async function openClass(classId, wanted, number) {
  const one = classOf(classId) || S.start.classes[0];
  if (!one) return;
  S.classId = one.id;
  const sheet = wanted && one.sheets.find((each) => each.kind === wanted.kind && each.name === wanted.name);
  S.words = new Map();
  if (takesAnswers()) {
    const found = await ask("api/words", { reviewer: S.reviewer, class_id: one.id });
    if (S.classId !== one.id) return;
    S.words = new Map(Object.entries(found.words).map(([key, word]) => [Number(key), word]));
    for (const said of S.queue) if (said.answer !== "undo") S.words.set(said.number, [said.answer, said.said_name || said.reason || null, said.decision_id]);
  }
  showProgress();
  await openSheet(sheet || one.sheets[0], number);
}

async function openSheet(sheet, number) {
  const visit = ++S.visit;
  S.sheet = sheet || null;
  showSheets();
  const found = sheet ? await ask("api/sheet", { class_id: S.classId, kind: sheet.kind, name: sheet.name }) : { numbers: [], names: [] };
  if (visit !== S.visit) return;  // another sheet was opened meanwhile
  S.numbers = found.numbers;
  S.names = found.names;
  byId("empty").hidden = S.numbers.length > 0;
  let at = number === undefined ? -1 : S.numbers.indexOf(number);
  if (takesAnswers()) at = nextUndecided(at < 0 ? 0 : at);
  for (const tile of S.tiles.values()) tile.node.remove();
  S.tiles.clear();
  S.cursor = Math.max(0, at);
  layOut();
  keepAddress();
  toCursor();
  byId("scroller").focus();
}

// ---- the window of tiles: of ten thousand photos only those near the view exist

function layOut() {
  const width = byId("scroller").clientWidth - 2 * (innerWidth <= 900 ? 8 : 16);
  S.columns = Math.max(1, Math.floor((width + GAP) / (TILE + GAP)));
  S.tile = Math.floor((width + GAP) / S.columns) - GAP;
  byId("grid").style.height = `${Math.ceil(S.numbers.length / S.columns) * rowHeight()}px`;
  paint();
}

const rowHeight = () => S.tile + CAPTION + GAP;

function paint() {
  const view = byId("scroller"), ahead = view.clientHeight * AHEAD;
  const first = Math.max(0, Math.floor((view.scrollTop - ahead) / rowHeight())) * S.columns;
  const last = Math.min(S.numbers.length, Math.ceil((view.scrollTop + view.clientHeight + ahead) / rowHeight()) * S.columns);
  for (const [index, tile] of S.tiles) if (index < first || index >= last) { tile.node.remove(); tile.image.removeAttribute("src"); S.tiles.delete(index); }
  const made = document.createDocumentFragment();
  for (let index = first; index < last; index++) {
    let tile = S.tiles.get(index);
    if (!tile) { tile = makeTile(index); S.tiles.set(index, tile); made.append(tile.node); }
    const style = tile.node.style;
    style.width = `${S.tile}px`;
    style.height = `${S.tile + CAPTION}px`;
    style.left = `${(index % S.columns) * (S.tile + GAP)}px`;
    style.top = `${Math.floor(index / S.columns) * rowHeight()}px`;
  }
  byId("grid").append(made);
  for (const index of S.tiles.keys()) mark(index);
}

function makeTile(index) {
  const node = element("div", undefined, "tile"), image = element("img"), line = element("p");
  const name = element("span"), word = element("span", "", "mark");
  image.alt = "";
  image.decoding = "async";
  image.addEventListener("error", () => node.classList.add("missing"));
  image.src = `thumb/${S.numbers[index]}`;
  name.textContent = isBlind() ? "" : S.names[index] === null ? (S.sheet.kind === "rejects" ? "" : NO_NAME) : S.names[index];
  name.title = name.textContent;
  line.append(name, word);
  node.append(image, line);
  node.addEventListener("click", () => { if (S.cursor === index && !takesAnswers()) enlarge(); moveTo(index); });
  node.addEventListener("dblclick", enlarge);
  return { node, image, word };
}

const SIGNS = { right: "✓ right", none: "none", reject: "✗ ", other: "→ " };

function mark(index) {
  const tile = S.tiles.get(index);
  if (!tile) return;
  const word = S.words.get(S.numbers[index]);
  tile.node.classList.toggle("cursor", index === S.cursor);
  for (const answer of Object.keys(SIGNS)) tile.node.classList.toggle(answer, Boolean(word) && word[0] === answer);
  tile.node.classList.toggle("waiting", Boolean(word) && S.queue.some((said) => said.decision_id === word[2]));
  const said = word ? SIGNS[word[0]] + (word[0] === "other" ? word[1] : word[0] === "reject" ? word[1].replace("_", " ") : "") : "";
  if (tile.word.textContent !== said) tile.word.textContent = said;
}

function moveTo(index) {
  if (!S.numbers.length) return;
  const before = S.cursor;
  S.cursor = Math.min(Math.max(index, 0), S.numbers.length - 1);
  mark(before);
  toCursor();
  mark(S.cursor);
  showStatus();
}

function toCursor() {
  const view = byId("scroller"), top = Math.floor(S.cursor / S.columns) * rowHeight(), bottom = top + rowHeight();
  if (top < view.scrollTop) view.scrollTop = top;
  else if (bottom > view.scrollTop + view.clientHeight) view.scrollTop = bottom - view.clientHeight + GAP;
  paint();
  showStatus();
}

function nextUndecided(from) {
  for (let index = from; index < S.numbers.length; index++) if (!S.words.has(S.numbers[index])) return index;
  return Math.min(from, S.numbers.length - 1);
}

// ---- decisions: shown at once, and marked as waiting until the server has them on the disk

function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function decide(index, answer, parts = {}) {
  const number = S.numbers[index], id = newId();
  S.history.push({ id, number, classId: S.classId, before: S.words.get(number) });
  S.words.set(number, [answer, parts.said_name || parts.reason || null, id]);
  S.queue.push({ number, decision_id: id, answer, ...parts });
  mark(index);
}

function say(answer, parts) {
  if (!takesAnswers() || !S.numbers.length) return;
  if (answer === "right" && isBlind()) return chooseName();
  if (answer === "right" && S.names[S.cursor] === null) answer = "none";
  S.last = [answer, parts];
  decide(S.cursor, answer, parts);
  moveTo(nextUndecided(S.cursor + 1));
  send();
}

function allInView() {
  if (!isReview()) return;
  const view = byId("scroller");
  const first = Math.ceil(view.scrollTop / rowHeight()) * S.columns;
  const last = Math.min(S.numbers.length, Math.floor((view.scrollTop + view.clientHeight) / rowHeight()) * S.columns);
  for (let index = first; index < last; index++) {
    if (!S.words.has(S.numbers[index])) decide(index, S.names[index] === null ? "none" : "right");
  }
  moveTo(nextUndecided(last));
  send();
}

async function undo() {
  if (!takesAnswers()) return;
  let last = S.history.pop();
  if (!last) {  // said before this window was opened
    while (S.isSending) await new Promise((resolve) => setTimeout(resolve, 50));
    const { place } = await ask("api/place", { reviewer: S.reviewer });
    if (!place) return;
    last = { id: place.decision_id, number: place.number, classId: place.class_id, sheet: sheetOf(place) };
  }
  S.queue.push({ number: last.number, decision_id: newId(), answer: "undo", undoes: last.id });
  await send();
  if (last.sheet) return openClass(last.classId, last.sheet, last.number);
  if (S.classId !== last.classId) return;
  if (last.before) S.words.set(last.number, last.before); else S.words.delete(last.number);
  const index = S.numbers.indexOf(last.number);
  if (index >= 0) moveTo(index);
}

async function send() {
  if (S.isSending) return;
  S.isSending = true;
  showStatus();
  while (S.queue.length) {
    const batch = S.queue.slice(0, MAX_BATCH);
    try {
      const answer = await fetch("api/decisions", {
        method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ reviewer: S.reviewer, decisions: batch }),
      });
      const told = await answer.json();
      if (answer.status === 422) {
        S.queue.splice(0, batch.length);
        complain(typeof told.detail === "string" ? told.detail : "a decision was not understood; load the page again");
        break;
      }
      if (!answer.ok) throw new Error(told.detail);
      S.queue.splice(0, batch.length);
      S.progress = told.progress;
      complain("");
    } catch (error) {
      complain(`The last decisions are not kept yet (${error.message}); leave this page open, it tries again. Is the command still running?`);
      showStatus();
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
  S.isSending = false;
  showProgress();
  for (const index of S.tiles.keys()) mark(index);
}

// ---- choosing a name, a reason, a pseudonym

function choose(title, options, hasFilter, chosen) {
  const box = byId("names"), filter = byId("names-filter"), list = byId("names-list");
  byId("names-title").textContent = title;
  filter.value = "";
  filter.hidden = !hasFilter;
  let shown = [];
  const show = () => {
    const wanted = filter.value.trim().toLowerCase();
    shown = options.filter(([, text]) => text.toLowerCase().includes(wanted));
    shown.sort((one, other) => other[1].toLowerCase().startsWith(wanted) - one[1].toLowerCase().startsWith(wanted));
    list.replaceChildren(...shown.map(([value, text], position) => {
      const button = element("button", text);
      button.type = "button";
      if (position < 9 && !wanted) button.append(element("kbd", String(position + 1)));
      button.addEventListener("click", () => { box.close(); chosen(value); });
      return button;
    }));
  };
  filter.oninput = show;
  box.onkeydown = (event) => {
    const position = Number(event.key) - 1;
    if (!filter.value && shown[position] && position >= 0) { event.preventDefault(); box.close(); chosen(shown[position][0]); }
    else if (event.key === "Enter" && event.target === filter) { event.preventDefault(); if (filter.value && shown.length) { box.close(); chosen(shown[0][0]); } }
  };
  box.onclose = () => byId("scroller").focus();
  show();
  box.showModal();
  (hasFilter ? filter : list.firstElementChild || box).focus();
}

function chooseName() {
  if (S.numbers.length) choose("Which background is it?", S.start.names.map((name) => [name, name]), true, (name) => say("other", { said_name: name }));
}

function chooseReason() {
  const options = [...reasons].map(([reason, meaning]) => [reason, `${reason.replace("_", " ")}: it ${meaning}`]);
  if (S.numbers.length) choose("Why does the photo not belong here?", options, false, (reason) => say("reject", { reason }));
}

function askWho() {
  return new Promise((resolve) => {
    const box = byId("reviewer"), name = byId("reviewer-name");
    byId("reviewers").replaceChildren(...S.start.reviewers.map((one) => { const option = element("option"); option.value = one; return option; }));
    box.onclose = () => { if (/^[\p{L}\p{N}_][\p{L}\p{N}_ .-]{0,39}$/u.test(name.value)) resolve(name.value); else box.showModal(); };
    box.showModal();
    name.focus();
  });
}

// ---- one photo, large

async function enlarge() {
  if (!S.numbers.length) return;
  const number = current(), image = byId("large-image"), box = byId("large"), fetchIt = byId("large-fetch"), missing = byId("large-missing");
  const load = (query) => {
    missing.hidden = true;
    image.hidden = false;
    image.onerror = () => { image.hidden = true; missing.hidden = false; missing.textContent = query ? "It could not be fetched." : "This photo is not on this machine."; fetchIt.hidden = takesAnswers() || Boolean(query); };
    image.src = `photo/${number}${query}`;
  };
  fetchIt.hidden = true;
  fetchIt.onclick = () => load("?fetch=true");
  load("");
  byId("large-about").replaceChildren();
  box.showModal();
  const about = await ask(`about/${number}`);
  byId("large-about").replaceChildren(...Object.entries(about).flatMap(([name, text]) => {
    const value = element("dd");
    if (name === "link" && /^https?:\/\//.test(text)) {
      const link = element("a", text);
      link.href = text;
      link.rel = "noreferrer noopener";
      link.target = "_blank";
      value.append(link);
    } else value.textContent = text;
    return [element("dt", name), value];
  }));
}

// ---- keys

const KEYS = [
  ["arrows", "move"], ["Enter or R", "the name is right"], ["O", "another name"], ["N", "no background can be named"],
  ["X", "reject, with a reason"], [".", "the same answer as before"], ["U", "undo"],
  ["Shift Enter", "all others in view are right"], ["Z", "large, with its credit"], ["[ and ]", "sheet before and after"],
  ["{ and }", "class before and after"], ["?", "these keys"],
];

function step(list, here, by) { return list[Math.min(Math.max(list.indexOf(here) + by, 0), list.length - 1)]; }

const ACTIONS = {
  ArrowLeft: () => moveTo(S.cursor - 1), ArrowRight: () => moveTo(S.cursor + 1),
  ArrowUp: () => moveTo(S.cursor - S.columns), ArrowDown: () => moveTo(S.cursor + S.columns),
  Home: () => moveTo(0), End: () => moveTo(S.numbers.length - 1),
  PageUp: () => moveTo(S.cursor - S.columns * Math.max(1, Math.floor(byId("scroller").clientHeight / rowHeight()))),
  PageDown: () => moveTo(S.cursor + S.columns * Math.max(1, Math.floor(byId("scroller").clientHeight / rowHeight()))),
  Enter: () => (takesAnswers() ? say("right") : enlarge()), r: () => say("right"), n: () => say("none"),
  o: () => { if (takesAnswers()) chooseName(); }, x: () => { if (takesAnswers()) chooseReason(); },
  ".": () => { if (S.last) say(...S.last); }, u: undo, z: enlarge, all: allInView,
  "[": () => openSheet(step(classOf(S.classId).sheets, S.sheet, -1)), "]": () => openSheet(step(classOf(S.classId).sheets, S.sheet, 1)),
  "{": () => openClass(step(S.start.classes, classOf(S.classId), -1).id), "}": () => openClass(step(S.start.classes, classOf(S.classId), 1).id),
  "?": () => byId("help").showModal(),
};

function act(key) { Promise.resolve(ACTIONS[key]()).catch((error) => complain(error.message)); }

function onKey(event) {
  const box = document.querySelector("dialog[open]");
  if (box) { if (box.id === "large" && event.key === "z") box.close(); return; }
  if (event.target.matches("select, input")) return;
  let key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (event.ctrlKey || event.metaKey || event.altKey) { if (key !== "z" || event.altKey) return; key = "u"; }
  if (key === "Enter" && event.shiftKey) key = "all";
  if (key === "Enter" && event.target.matches("button")) return;
  if (!Object.hasOwn(ACTIONS, key)) return;
  event.preventDefault();
  act(key);
}

// ---- the beginning

async function begin() {
  S.start = await ask("api/start");
  S.use = S.start.use;
  reasons = new Map(S.start.reasons);
  document.title = `${S.start.title} - counterset ${S.use}`;
  byId("title").textContent = S.start.title;
  byId("answers").hidden = !takesAnswers();
  showClasses();
  for (const button of byId("answers").children) {
    if (isBlind() && ["Enter", "all"].includes(button.dataset.key)) button.hidden = true;
    button.addEventListener("click", () => { act(button.dataset.key); byId("scroller").focus(); });
  }
  byId("help-keys").replaceChildren(...KEYS.flatMap(([keys, meaning]) => [element("dt", keys), element("dd", meaning)]));
  document.addEventListener("keydown", onKey);
  byId("help-button").addEventListener("click", () => act("?"));
  byId("large-close").addEventListener("click", () => byId("large").close());
  byId("class-select").addEventListener("change", (event) => openClass(event.target.value));
  byId("scroller").addEventListener("scroll", paint, { passive: true });
  new ResizeObserver(() => { layOut(); toCursor(); }).observe(byId("scroller"));
  addEventListener("beforeunload", (event) => { if (S.queue.length) event.preventDefault(); });
  const kept = inAddress();
  let wanted = { kind: kept.get("kind"), name: kept.get("name") }, classId = kept.get("class"), number;
  if (takesAnswers()) {
    S.reviewer = kept.get("reviewer") || await askWho();
    byId("who").textContent = S.reviewer;
    byId("who").hidden = false;
    byId("who").addEventListener("click", () => { location.hash = ""; location.reload(); });
    const found = await ask("api/place", { reviewer: S.reviewer });
    S.progress = found.progress;
    if (!classId && found.place) {
      classId = found.place.class_id;
      number = found.place.number;
      wanted = sheetOf(found.place);
    }
  }
  await openClass(classId, wanted, number);
}

begin().catch((error) => complain(error.message));
