// What must happen in the browser: keys, time spent working, what is kept when the connection breaks.
"use strict";

const custodes = (() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const typing = (element) =>
    !("marks" in element.dataset) &&
    element.matches?.("textarea, select, [contenteditable=true], input:not([type=radio], [type=checkbox])");
  const seen = (element) => element.getClientRects().length > 0 && !element.disabled;

  // ------------------------------------------------------------ told

  let fading = 0;

  /** A sentence at the foot of the page, read out by screen readers. */
  function say(sentence, bad = false) {
    const said = document.getElementById("said");
    if (!said) return;
    said.textContent = sentence ? sentence[0].toUpperCase() + sentence.slice(1) : "";
    said.className = bad ? "bad" : "";
    if (bad) ready();
    clearTimeout(fading);
    fading = setTimeout(() => (said.textContent = ""), bad ? 12000 : 5000);
  }

  // ------------------------------------------------------------ light and dark, signing out

  function turn() {
    const root = document.documentElement;
    const dark = root.dataset.theme
      ? root.dataset.theme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    document.body.classList.toggle("body--dark", !dark);
    document.body.classList.toggle("body--light", dark);
    document.cookie = `custodes_theme=${root.dataset.theme}; path=/; max-age=31536000; samesite=lax`;
  }

  async function signOut(csrf) {
    await fetch("/api/sign-out", { method: "POST", headers: { "X-CSRF-Token": csrf } });
    sessionStorage.clear();
    location.href = "/sign-in";
  }

  // ------------------------------------------------------------ windows

  function open(id) {
    const window_ = document.getElementById(id);
    if (!window_ || window_.open) return;
    if (id === "keys") mapKeys(window_);
    window_.showModal();
    window_.querySelector("input, textarea")?.focus();
  }

  function close(id) {
    document.getElementById(id)?.close();
  }

  /** The map of keys, made from what is on the screen, so that it is never wrong. */
  function mapKeys(window_) {
    const list = window_.querySelector("dl");
    const rows = new Map();
    for (const control of all("[data-key]")) {
      if (!seen(control)) continue;
      const keys = control.dataset.key.split(" ")[0];
      const name =
        control.getAttribute("aria-label") ||
        control.closest("label")?.querySelector("span > span:last-child")?.textContent ||
        (control.matches("input") && control.nextElementSibling?.textContent) ||
        control.firstChild.textContent;
      const here = control.closest(".ask") && /^[\d+-]$/.test(keys);
      const what = here ? "choose in the row where you are" : name.trim();
      if (!rows.has(what)) rows.set(what, new Set());
      rows.get(what).add(keys);
    }
    list.replaceChildren();
    for (const [what, keys] of [...rows, ["next, previous row", ["Tab", "Shift Tab"]], ["this map", ["?"]]]) {
      const term = document.createElement("dt");
      for (const key of keys) term.append(Object.assign(document.createElement("kbd"), { textContent: key }), " ");
      list.append(term, Object.assign(document.createElement("dd"), { textContent: what }));
    }
  }

  // ------------------------------------------------------------ what is drawn again

  // The buttons of a live region carry what they do as data-act. A press that meets a new drawing counts for the button of
  // the same act, and so does the focus.

  let pressed = null;
  let focused = "";
  const actOf = (element) => element.closest?.("[data-act]");

  /** Sends what the pressed button of a live region does. */
  function act(event, emit) {
    const button = actOf(event.target);
    if (button) settled(() => emit([button.dataset.act, seconds()]));
  }

  addEventListener("pointerdown", (event) => ([pressed, focused] = [actOf(event.target), ""]), true);
  addEventListener(
    "pointerup",
    (event) => {
      const here = actOf(event.target);
      if (here && pressed && !pressed.isConnected && here.dataset.act === pressed.dataset.act) here.click();
      pressed = null;
    },
    true,
  );
  addEventListener("focusin", (event) => (focused = actOf(event.target)?.dataset.act || ""), true);

  function keepFocus() {
    if (focused && document.activeElement === document.body)
      document.querySelector(`[data-act="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  }

  // ------------------------------------------------------------ keys

  function onKey(event) {
    const element = event.target;
    if (busy) return; // keys are for the next item, which is not there yet
    const modal = document.querySelector("dialog[open]");
    if ((event.ctrlKey || event.metaKey) && event.key === "Enter") {
      const main = (modal || document).querySelector("[data-hand-in]");
      if (main && seen(main)) {
        event.preventDefault();
        main.click();
      }
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Enter" && element.closest?.("button, a, summary, dialog")) return; // does what it says
    if (event.key === " " || typing(element)) {
      if (event.key === "Escape" && !modal) element.blur();
      return;
    }
    if (event.key === "?" && !modal && document.getElementById("keys")) {
      event.preventDefault();
      return open("keys");
    }
    const row = element.closest?.(".ask") || firstOpenRow();
    const places = modal ? [modal] : [row, document];
    for (const place of places) {
      const found = place && all("[data-key]", place).find((c) => seen(c) && c.dataset.key.split(" ").includes(event.key));
      if (!found) continue;
      event.preventDefault();
      found.focus();
      found.click();
      if (found.type === "radio") next(found.closest(".ask"));
      return;
    }
  }

  const rows = () => all(".ask").filter(seen);
  const answered = (row) => row.querySelector("input:checked") !== null;

  /** Where digits go when the person is nowhere in particular. */
  function firstOpenRow() {
    const choices = rows().filter((row) => row.querySelector("input[type=radio]"));
    return choices.find((row) => !answered(row)) || choices[0];
  }

  /** After an answer by key, the next row; after the last one, the button that hands in. */
  function next(row) {
    if (!row) return;
    const following = rows();
    const after = following
      .slice(following.indexOf(row) + 1)
      .find((other) => other.querySelector("input[type=radio]") && !answered(other));
    const target = after
      ? after.querySelector("input:checked") || after.querySelector("input[type=radio]")
      : document.querySelector("[data-hand-in]");
    target?.focus({ preventScroll: true });
    (after || target)?.scrollIntoView({ block: "nearest" });
  }

  // ------------------------------------------------------------ time spent working

  const IDLE = 30_000; // ms without a sign of life after which nobody is counted as working
  let alive = Date.now();
  let spent = 0; // ms, of what is before the person
  let tick = Date.now();

  function count() {
    const now = Date.now();
    if (!document.hidden && now - alive < IDLE) spent += Math.min(now - tick, 2000);
    tick = now;
  }

  /** Seconds of work on what is on the screen, idle time left out; ``start`` begins anew at so many. */
  function seconds(start) {
    count();
    if (start !== undefined) [spent, alive, tick] = [start * 1000, Date.now(), Date.now()];
    return Math.round(spent / 100) / 10;
  }

  for (const sign of ["pointermove", "pointerdown", "keydown", "wheel", "touchmove"])
    addEventListener(sign, () => (alive = Date.now()), { passive: true, capture: true });
  let noted = 0;
  setInterval(() => {
    count();
    if (Math.abs(spent - noted) < 5000 || !document.querySelector("[data-form]") || !window.did_handshake) return;
    noted = spent;
    emitEvent("seconds", seconds());
  }, 1000);

  // ------------------------------------------------------------ what is kept until it is saved

  // Whatever is entered in a [data-keep] within [data-form] stays in this tab until the server has said that it is
  // saved; a page that comes back after the server was away puts it back and sends it again.

  const place = (control) => `custodes ${control.closest("[data-form]")?.dataset.form} ${control.dataset.keep}`;
  const valueOf = (control) => (control.type === "checkbox" ? String(control.checked) : control.value);

  function keep(event) {
    const control = event.target;
    if (control.dataset?.keep && control.closest("[data-form]")) sessionStorage[place(control)] = valueOf(control);
  }

  let typed = 0; // when the last letter was entered, ms

  /** Does something once the last letter has gone to the server, which happens up to 300 ms after it. */
  function settled(act) {
    setTimeout(act, Math.max(0, typed + 350 - Date.now()));
  }

  addEventListener("input", (event) => typing(event.target) && (typed = Date.now()), true);

  /** The server has these values (name -> value) of a form. */
  function saved(form, values) {
    for (const [name, value] of Object.entries(values))
      if (sessionStorage[`custodes ${form} ${name}`] === value) delete sessionStorage[`custodes ${form} ${name}`];
  }

  /** Nothing of a form is needed any more. */
  function forget(form) {
    for (const key of Object.keys(sessionStorage)) if (key.startsWith(`custodes ${form} `)) delete sessionStorage[key];
  }

  function putBack() {
    for (const control of all("[data-form] [data-keep]")) {
      const kept = sessionStorage[place(control)];
      if (kept === undefined) continue;
      if (control.type === "radio") {
        if (control.value === kept && !control.checked) control.click();
      } else if (control.type === "checkbox") {
        if (String(control.checked) !== kept) control.click();
      } else if (control.value !== kept) {
        control.value = kept;
        control.dispatchEvent(new Event("input", { bubbles: true }));
      }
    }
  }

  /** While the server is away the page says so, and what cannot be kept cannot be pressed. */
  function watchConnection() {
    if (!window.socket?.on) return setTimeout(watchConnection, 50);
    const show = (away) => document.body.classList.toggle("away", away);
    window.socket.on("disconnect", () => show(true));
    window.socket.on("connect", () => show(false));
  }

  // ------------------------------------------------------------ the work screen

  let busy = false; // something is being handed in

  /** Sends the seconds of work and the texts as they are now; until the next item is there, keys do nothing. */
  function handIn(emit) {
    if (busy) return;
    busy = true;
    setTimeout(ready, 15_000); // whatever happens
    settled(() => {
      const fields = all("[data-form] [data-keep]").filter(typing);
      emit({ seconds: seconds(), texts: Object.fromEntries(fields.map((field) => [field.dataset.keep, field.value])) });
    });
  }

  /** The form can be changed again. */
  function ready() {
    busy = false;
  }

  /** What was before the person is another: they are told, and begin at the top. */
  function begin() {
    ready();
    all("textarea[data-marks]").forEach(grow);
    scrollTo(0, 0);
    document.querySelector("#main > h1")?.focus({ preventScroll: true });
  }

  /** To the row of this name, where something is missing. */
  function go(name) {
    ready();
    const row = all("[data-row]").find((r) => r.dataset.row === name || r.dataset.row.startsWith(`${name}.`));
    if (!row) return;
    if (row.tagName === "DETAILS") row.open = true;
    row.scrollIntoView({ block: "center" });
    row.querySelector("input, textarea, button")?.focus({ preventScroll: true });
  }

  /** [first, after the last] character that is selected in a field, counted in code points as the server counts. */
  function selection(id) {
    const field = document.getElementById(id);
    const count = (end) => [...field.value.slice(0, end)].length;
    return [count(field.selectionStart), count(field.selectionEnd)];
  }

  // Passages are selected in a field whose text stays as it is. Were it read-only, Chromium would not select by keyboard.
  document.addEventListener("beforeinput", (event) => {
    if ("marks" in event.target.dataset) event.preventDefault();
  });
  document.addEventListener("input", (event) => {
    if ("marks" in event.target.dataset) event.target.value = event.target.defaultValue;
  });

  function grow(field) {
    field.style.height = "auto";
    field.style.height = `${field.scrollHeight}px`;
  }

  new MutationObserver(() => {
    keepFocus();
    all("textarea[data-marks]").forEach((f) => f.style.height || grow(f));
  }).observe(document.documentElement, { childList: true, subtree: true });
  addEventListener("resize", () => all("textarea[data-marks]").forEach(grow));

  // ------------------------------------------------------------ answers that scroll together

  let scrolling = null;

  function scrolled(event) {
    const pane = event.target;
    const group = pane.closest?.("[data-together]");
    if (!group || !pane.matches("[data-answer]") || group.dataset.together === "false") return;
    if (scrolling && scrolling !== pane) return;
    scrolling = pane;
    const share = pane.scrollTop / Math.max(1, pane.scrollHeight - pane.clientHeight);
    for (const other of all("[data-answer]", group))
      if (other !== pane) other.scrollTop = share * (other.scrollHeight - other.clientHeight);
    clearTimeout(scrolled.timer);
    scrolled.timer = setTimeout(() => (scrolling = null), 120);
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest(".prose a[href]");
    if (link) {
      event.preventDefault();
      return void window.open(link.href, "_blank", "noopener,noreferrer");
    }
    const button = event.target.closest("[data-theme-button], [data-sign-out], [data-opens], [data-closes], [data-scrolls]");
    if (!button) return;
    if ("themeButton" in button.dataset) turn();
    else if ("signOut" in button.dataset) signOut(button.dataset.signOut);
    else if ("scrolls" in button.dataset) {
      const group = document.querySelector("[data-together]");
      group.dataset.together = String(group.dataset.together === "false");
      button.setAttribute("aria-pressed", group.dataset.together);
    } else if ("opens" in button.dataset) open(button.dataset.opens);
    else button.closest("dialog").close();
  });
  document.addEventListener("keydown", onKey);
  document.addEventListener("input", keep, true);
  document.addEventListener("change", keep, true);
  document.addEventListener("scroll", scrolled, true);
  watchConnection();

  return { act, say, open, close, seconds, settled, saved, forget, putBack, begin, go, handIn, ready, selection };
})();
