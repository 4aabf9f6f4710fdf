import { all, ask, make, one, say, start, tableRow } from "./dom.js";
import { listen } from "./live.js";
import { items } from "./queue.js";
import { begin } from "./sender.js";
import { moment, percent, word } from "./words.js";

start();
const rows = one("#exams"), more = one("#more");
let next = null, names = new Map();

/** A row's cells; the name of the file is known only on the computer that sent it. */
function cells(exam) {
  const own = names.get(exam.pseudonym);
  const answer = exam.answer
    ? word("js.answer", { label: exam.answer.predicted, probability: percent(exam.answer.probabilities[exam.answer.predicted] ?? Number.NaN) })
    : exam.reason;
  const review = exam.review ? word(`js.verdict.${exam.review.verdict}`, { label: exam.review.label }) : "";
  const link = make("a", { href: `/exams/${exam.id}` }, own ?? exam.pseudonym.slice(0, 8));
  const kind = make("span", { class: "hint" }, ` ${exam.modality} ${word(`js.kind.${exam.kind}`, { point: exam.point })} ${exam.clinic}`);
  return [[link, kind], moment(exam.received), word(`js.state.${exam.state}`), answer ?? "", review];
}

/** The uncoded half of a pair is shown with its exam, not as another one. */
function show(exam, first) {
  if (exam.kind === "pristine" && exam.pair_id) return;
  const known = one(`tr[data-id="${exam.id}"]`, rows);
  const row = tableRow({ "data-id": exam.id }, ...cells(exam));
  if (known) known.replaceWith(row);
  else if (first) rows.prepend(row);
  else rows.append(row);
  one("#none").hidden = true;
}

async function load() {
  const query = next ? `?cursor=${encodeURIComponent(next)}` : "";
  const page = await ask("GET", `/api/v1/exams${query}`);
  page.exams.forEach((exam) => show(exam, false));
  next = page.next;
  more.hidden = !next;
  one("#none").hidden = all("tr", rows).length > 0;
}

more.addEventListener("click", () => load().catch((error) => say(error.message, "bad")));
try {
  names = new Map((await items()).map((item) => [item.meta?.pseudonym, item.name]));
  if (document.documentElement.dataset.role === "clinic") begin(); // the outbox is sent from this page too
} catch {
  // no database in this browser (private mode): the pseudonyms are shown
}
await load().catch((error) => say(error.message, "bad"));
listen((exam) => show(exam, true));
