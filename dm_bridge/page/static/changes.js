// What is different from one snapshot to the next, in words: for those who do not see the page change.

import { words as chatWords } from "./chats.js";
import { words as loginWords } from "./logins.js";
import { fullName } from "./names.js";
import { phrase } from "./texts.js";

const MOST = 3;

/** Sentences about what has changed; nothing about the first snapshot. */
export function changes(before, now) {
  if (!before) return [];
  const said = [
    ...differences(before.logins, now.logins, (each) => each.id, (each) => phrase("page-changed-login", { login: each.name, state: loginWords(each.state.state_event) })),
    ...differences(before.direct.chats, now.direct.chats, (each) => each.room_id, (each) => phrase("page-changed-chat", { contact: fullName(each), state: chatWords(each.state) })),
  ];
  const known = new Set(before.deliveries.problems.map((each) => each.id));
  const more = now.deliveries.problems.filter((each) => each.state !== "waiting" && !known.has(each.id)).length;
  if (more) said.push(phrase("page-changed-deliveries", { count: more }));
  return said.length > MOST ? [...said.slice(0, MOST), phrase("page-changed-more", { count: said.length - MOST })] : said;
}

function differences(before, now, key, sentence) {
  const known = new Map(before.map((each) => [key(each), sentence(each)]));
  return now.filter((each) => known.get(key(each)) !== sentence(each)).map(sentence);
}
