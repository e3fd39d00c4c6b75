// What the console does beyond plain pages. Everything works without it, only less lively.
"use strict";

const SECOND = 1, MINUTE = 60, HOUR = 3600, DAY = 86400;

// What somebody has written or chosen, and not sent yet.
function isDirty(field) {
  if (field.matches("[type=hidden], [type=submit], [type=button], [readonly]")) return false;
  if (field.matches("[type=checkbox], [type=radio]")) return field.checked !== field.defaultChecked;
  if (field.matches("select")) {
    const options = [...field.options];
    const given = Math.max(0, options.findLastIndex((option) => option.defaultSelected));
    return field.selectedIndex !== given;
  }
  return field.value !== field.defaultValue;
}

// Pages update themselves only while somebody looks, and never under the hands of somebody
// who fills in a form: what is typed would be gone.
function isBeingFilledIn(region) {
  if (region.querySelector("details.action[open]")) return true;
  const fields = "input, textarea, select";
  const focused = document.activeElement;
  if (region.contains(focused) && focused.matches(fields)) return true;
  return [...region.querySelectorAll(fields)].some(isDirty);
}

function isBusy(region) {
  return document.hidden || isBeingFilledIn(region);
}

document.addEventListener("htmx:beforeRequest", (event) => {
  const region = event.target;
  if (!region.matches("[data-live]")) return;
  if (isBusy(region)) event.preventDefault();
  if (region.id === "live" && isBeingFilledIn(region)) tellHeld();
});

// An answer that was on its way when somebody began to write comes too late as well.
document.addEventListener("htmx:beforeSwap", (event) => {
  const region = event.detail.target;
  if (region.matches("[data-live]") && isBeingFilledIn(region)) event.preventDefault();
});

// A part that does not come says so, and comes by itself as soon as it can.
document.addEventListener("htmx:afterRequest", (event) => {
  const region = event.target;
  if (event.detail.successful || !region.dataset.failed || isBeingFilledIn(region)) return;
  const text = document.createElement("p");
  text.className = "hint loading-failed";
  text.setAttribute("role", "status");
  text.textContent = region.dataset.failed;
  region.replaceChildren(text);
});

document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  document.querySelectorAll("#live[data-live]").forEach((region) => htmx.trigger(region, "refresh"));
});

function tellHeld() {
  const state = document.querySelector("[data-live-state]");
  if (state) state.textContent = "Waits for your form";
}

function tellLive(isLive) {
  const state = document.querySelector("[data-live-state]");
  if (!state) return;
  state.hidden = false;
  state.classList.toggle("lost", !isLive);
  if (isLive) {
    state.textContent = "Live";
    state.dataset.at = new Date().toLocaleTimeString();
  } else {
    state.textContent = `Not updated since ${state.dataset.at}`;
  }
}

document.addEventListener("htmx:afterRequest", (event) => {
  if (!event.target.matches("#live")) return;
  if (isBeingFilledIn(event.target)) tellHeld();
  else tellLive(event.detail.successful);
});

function largest(seconds) {
  for (const [unit, name] of [[DAY, "d"], [HOUR, "h"], [MINUTE, "min"]]) {
    if (seconds >= unit) return `${Math.floor(seconds / unit)} ${name}`;
  }
  return `${Math.max(SECOND, Math.floor(seconds))} s`;
}

function tellTimes() {
  const now = Date.now();
  document.querySelectorAll("time[data-relative]").forEach((element) => {
    const seconds = (now - Date.parse(element.dateTime)) / 1000;
    const text = seconds >= 0 ? `${largest(seconds)} ago` : `in ${largest(-seconds)}`;
    if (element.textContent !== text) element.textContent = text;
  });
}

function prepare(root) {
  root.querySelectorAll("button.copy[hidden]").forEach((button) => { button.hidden = !navigator.clipboard; });
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button.copy");
  if (!button) return;
  await navigator.clipboard.writeText(button.dataset.copy);
  button.classList.add("done");
  setTimeout(() => button.classList.remove("done"), 1200);
});

document.addEventListener("change", (event) => {
  if (event.target.matches("[data-submits]")) event.target.form.requestSubmit();
});

// A form is sent once, however often its button is pressed.
document.addEventListener("submit", (event) => {
  if (event.target.method !== "post") return;
  if (event.target.dataset.sent) { event.preventDefault(); return; }
  event.target.dataset.sent = "true";
});
window.addEventListener("pageshow", () => {
  document.querySelectorAll("form[data-sent]").forEach((form) => delete form.dataset.sent);
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, textarea, select")) return;
  if (event.key === "/") {
    const field = document.querySelector("input[type=search]");
    if (field) { event.preventDefault(); field.focus(); }
  }
});

document.addEventListener("htmx:afterSwap", () => { prepare(document); tellTimes(); });

document.addEventListener("DOMContentLoaded", () => {
  const menu = document.getElementById("menu");
  if (menu && matchMedia("(max-width: 56rem)").matches) menu.open = false;
  prepare(document);
  if (document.querySelector("#live[data-live]")) tellLive(true);
  setInterval(tellTimes, 5000);
});
