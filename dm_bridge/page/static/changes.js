// What is different from one snapshot to the next, in words: for those who do not see the page change.

import { words as chatWords } from "./chats.js";
import { words as loginWords } from "./logins.js";

const MOST = 3;

/** Sentences about what has changed; nothing about the first snapshot. */
export function changes(before, now) {
  if (!before) return [];
  const said = [
    ...differences(before.logins, now.logins, (each) => each.id, (each) => `${each.name}: ${loginWords(each.state.state_event)}.`),
    ...differences(before.direct.chats, now.direct.chats, (each) => each.room_id, (each) => `Chat with ${each.contact}: ${chatWords(each.state)}.`),
  ];
  const known = new Set(before.deliveries.problems.map((each) => each.id));
  const more = now.deliveries.problems.filter((each) => each.state !== "waiting" && !known.has(each.id)).length;
  if (more) said.push(more === 1 ? "A message was not delivered." : `${more} messages were not delivered.`);
  return said.length > MOST ? [...said.slice(0, MOST), `And ${said.length - MOST} more changes.`] : said;
}

function differences(before, now, key, sentence) {
  const known = new Map(before.map((each) => [key(each), sentence(each)]));
  return now.filter((each) => known.get(key(each)) !== sentence(each)).map(sentence);
}
