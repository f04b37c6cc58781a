// Signing in and joining: sends its form as JSON and goes on. No framework, nothing to load.
"use strict";
const form = document.getElementById("sign-in");

function wanted() {
  // only to a page of this server
  const next = new URLSearchParams(location.search).get("next") || "/";
  return /^\/(?![/\\])/.test(next) ? next : "/";
}

async function send(address, values) {
  const answer = await fetch(address, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(values),
  });
  if (!answer.ok) throw new Error((await answer.json()).detail);
  return answer.json();
}

form?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const said = document.getElementById("said");
  const button = form.querySelector("button");
  const values = Object.fromEntries(new FormData(form));
  const empty = [...form.elements].find((field) => field.required && !field.value);
  if (empty) {
    said.textContent = `Fill in: ${form.querySelector(`label[for=${empty.id}]`).textContent.toLowerCase()}.`;
    empty.focus();
    return;
  }
  button.disabled = true;
  said.textContent = "";
  try {
    await send(form.dataset.send, values);
    if (form.dataset.send === "/api/join")
      await send("/api/sign-in", { name: values.name, password: values.password });
    location.href = wanted();
  } catch (error) {
    const sentence = error.message || "the server does not answer; try again.";
    said.textContent = sentence[0].toUpperCase() + sentence.slice(1);
    button.disabled = false;
    form.querySelector("[type=password]").focus();
  }
});
