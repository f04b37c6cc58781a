// What must happen in the browser: keys, time that is spent working, what is kept when the connection breaks.
"use strict";

const custodes = (() => {
  // ------------------------------------------------------------ told

  let fading = 0;

  /** A sentence at the foot of the page, read out by screen readers. */
  function say(sentence, bad = false) {
    const said = document.getElementById("said");
    if (!said) return;
    said.textContent = sentence ? sentence[0].toUpperCase() + sentence.slice(1) : "";
    said.className = bad ? "bad" : "";
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

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-theme-button], [data-sign-out]");
    if (!button) return;
    if ("themeButton" in button.dataset) turn();
    else signOut(button.dataset.signOut);
  });

  return { say };
})();
