// Making elements. Text is only ever text: nothing that anybody wrote becomes markup.

import { language, phrase } from "./texts.js";

/** An element. Properties that begin with "on" are listeners; null children are left out. */
export function el(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "class") made.className = value;
    else if (value === true) made.setAttribute(name, "");
    else made.setAttribute(name, value);
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return made;
}

/** Text of strangers: it cannot turn the direction of what stands around it. */
export const said = (text) => el("bdi", {}, text);

const ICONS = { good: "✓", warn: "◔", bad: "✕", none: "–" };

/** How something is: a word, with a sign and a colour that say the same. */
export function state(kind, words) {
  return el("span", { class: `state ${kind}` }, el("span", { "aria-hidden": "true" }, ICONS[kind]), el("span", {}, words));
}

const RELATIVE = new Intl.RelativeTimeFormat(language, { numeric: "auto" });
const UNITS = [["day", 86_400_000], ["hour", 3_600_000], ["minute", 60_000]];

/** When something was: about, and exactly in its title. */
export function time(milliseconds) {
  const at = new Date(milliseconds);
  const past = Date.now() - milliseconds;
  const [unit, length] = UNITS.find(([, each]) => Math.abs(past) >= each) ?? [null, 1];
  const about = unit === null ? phrase("page-just-now") : RELATIVE.format(-Math.round(past / length), unit);
  return el("time", { datetime: at.toISOString(), title: at.toLocaleString(language) }, about);
}

const LENGTHS = [["hour", 3600, 5400], ["minute", 60, 90], ["second", 1, 0]];

/** How long something takes, or has taken: about. */
export function duration(seconds) {
  const [unit, length] = LENGTHS.find(([, , least]) => seconds >= least) ?? LENGTHS[2];
  return new Intl.NumberFormat(language, { style: "unit", unit, unitDisplay: "short" }).format(Math.round(seconds / length));
}

/** Put new content into an element; what had the focus keeps it, by its data-key, or its heading gets it. */
export function show(place, ...children) {
  const focused = place.contains(document.activeElement) ? document.activeElement : null;
  const open = new Set([...place.querySelectorAll("details[open]")].map((each) => each.dataset.key));
  place.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined));
  for (const each of place.querySelectorAll("details")) if (open.has(each.dataset.key)) each.open = true;
  if (focused === null || place.contains(document.activeElement)) return;
  const key = focused.dataset.key;
  const again = [...place.querySelectorAll("[data-key]")].find((each) => key !== undefined && each.dataset.key === key);
  (again ?? place.querySelector("h2") ?? place.closest("section")?.querySelector("h2"))?.focus();
}

let quiet;

/** Say something for a few seconds; screen readers read it. */
export function news(text) {
  const place = document.getElementById("news");
  place.replaceChildren(el("p", {}, text));
  clearTimeout(quiet);
  quiet = setTimeout(() => place.replaceChildren(), 8000);
}

/** A button that does one thing at a time, and one at a double click; what goes wrong is said. */
export function button(words, work, { kind = "", key = words, label } = {}) {
  const made = el("button", { type: "button", class: kind, "data-key": key, "aria-label": label }, words);
  made.addEventListener("click", async (event) => {
    if (made.getAttribute("aria-disabled") === "true" || event.detail > 1) return; // it may have taken the place of another one
    made.setAttribute("aria-disabled", "true");
    try {
      await work();
    } catch (error) {
      news(error.message);
    } finally {
      made.removeAttribute("aria-disabled");
    }
  });
  return made;
}

/** Ask before something that cannot be taken back; whether the person agrees. */
export function confirmed(question, agree) {
  return new Promise((resolve) => {
    const box = el(
      "dialog",
      { "aria-labelledby": "question" },
      el(
        "div",
        {},
        el("h2", { id: "question" }, question),
        el(
          "div",
          { class: "buttons" },
          el("button", { type: "button", class: "danger", onclick: () => box.close("yes") }, agree),
          el("button", { type: "button", onclick: () => box.close("") }, phrase("page-leave-as-it-is")),
        ),
      ),
    );
    const before = document.activeElement;
    box.addEventListener("close", () => {
      box.remove();
      before?.focus();
      resolve(box.returnValue === "yes");
    });
    document.body.append(box);
    box.showModal();
  });
}
