// What the page says: messages by name, in the bridge's language, put together from their pieces.

import spoken from "./words.js";

const languages = spoken.map(({ language, messages }) => {
  const tag = usable(language);
  return { tag, messages, plural: new Intl.PluralRules(tag), number: new Intl.NumberFormat(tag) };
});

/** The language that is spoken, for times, numbers and sorting. */
export const language = languages[0].tag;

/**
 * A message with these values: a string, or a list of children where one of the values is an element.
 * Numbers are written as the language does; whatever else is put in is text, and never markup.
 */
export function phrase(name, values = {}) {
  const how = languages.find(({ messages }) => Object.hasOwn(messages, name));
  if (how === undefined) return name;
  const parts = put(how, how.messages[name], values);
  return parts.some((part) => part instanceof Node) ? parts : parts.join("");
}

/** A number alone, as the language writes it. */
export const number = (value) => languages[0].number.format(value);

function put(how, pieces, values) {
  return pieces.flatMap((piece) => {
    if (typeof piece === "string") return piece;
    const value = values[piece.value];
    if (piece.forms) return put(how, piece.forms[value] ?? piece.forms[how.plural.select(value)] ?? piece.forms[piece.otherwise], values);
    return typeof value === "number" ? how.number.format(value) : value;
  });
}

function usable(language) {
  try {
    return Intl.getCanonicalLocales(language)[0];
  } catch {
    return "en"; // a folder may be called anything
  }
}
