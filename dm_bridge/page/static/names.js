// What contacts are called: by their name, where they have one, and their address.

import { part } from "./api.js";
import { el } from "./dom.js";
import { phrase } from "./texts.js";

/** The name, or else the address. */
export const nameOf = ({ contact, contact_name: name }) => name ?? contact;

/** The name and the address: two contacts may have the same name. */
export const fullName = ({ contact, contact_name: name }) => (name ? phrase("page-named", { name, address: contact }) : contact);

/** A link that opens a room in whatever Matrix client a person has. */
export function room(id, words, label) {
  const href = `https://matrix.to/#/${part(id)}`;
  return el("a", { class: "button", href, rel: "noreferrer noopener", target: "_blank", "aria-label": label, "data-key": `room ${id} ${words}` }, words);
}
