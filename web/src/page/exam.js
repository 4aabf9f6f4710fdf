// One exam: prediction, image, evidence, physician's verdict.

import { ask, given, make, one, say, start } from "./dom.js";
import { follow, hasEnded } from "./live.js";
import { items } from "./queue.js";
import { begin } from "./sender.js";
import { bytes, metric, moment, number, percent, word } from "./words.js";
import { addView, readTools } from "./view.js";

const { id, profile } = given("exam");
const role = document.documentElement.dataset.role;
let shown = null;

const top = ({ answer }) => word("js.answer", { label: answer.predicted, probability: percent(answer.probabilities[answer.predicted]) });
const kindOf = (exam) => word(`js.kind.${exam.kind}`, { point: exam.point });

function showAnswer(exam) {
  const place = one("#answer");
  if (!exam.answer) {
    const reason = exam.reason ? `: ${exam.reason}` : "";
    place.replaceChildren(make("p", { class: exam.reason ? "bad" : "" }, word(`js.state.${exam.state}`) + reason));
    return;
  }
  const rows = Object.entries(exam.answer.probabilities).map(([label, value]) =>
    make("tr", {}, make("th", { scope: "row" }, label), make("td", {}, make("meter", { value, max: 1, "aria-label": label })), make("td", { class: "n" }, percent(value))));
  const table = make("table", { class: "bars" }, make("caption", {}, word("js.probabilities")), make("tbody", {}, ...rows));
  const losses = exam.kind === "coded" ? exam.certified.map(({ metric: name, loss, upper, margin }) => {
    const { name: said, figure } = metric(name);
    return make("li", {}, word("js.certified", { metric: said, loss: figure(loss), upper: figure(upper), margin: figure(margin) }));
  }) : [];
  const certified = losses.length ? [make("p", {}, word("js.certified-is")), make("ul", { class: "losses" }, ...losses)] : [];
  const disclaimer = make("p", { class: "hint" }, word("disclaimer"));
  place.replaceChildren(make("p", { class: "predicted" }, exam.answer.predicted), table, ...certified, disclaimer);
}

async function showFacts(exam) {
  const own = (await items().catch(() => [])).find((item) => item.meta?.pseudonym === exam.pseudonym);
  const ratio = number(exam.source_bytes / exam.payload_bytes, 1);
  const facts = {
    kind: `${kindOf(exam)} ${exam.modality}`,
    size: `${exam.columns}×${exam.rows}${exam.slices > 1 ? `×${exam.slices}` : ""}, ${exam.bits} bit`,
    bytes: word("js.before-after", { before: bytes(exam.source_bytes), after: bytes(exam.payload_bytes), ratio }),
    received: moment(exam.received), clinic: exam.clinic, model: exam.answer?.model, name: own?.name,
  };
  const list = Object.entries(facts).filter(([, text]) => text)
    .map(([key, text]) => make("div", {}, make("dt", {}, word(`js.fact.${key}`)), make("dd", {}, text)));
  // The server shows the exam's own profile; an exam that is not classified yet may get another one.
  const other = exam.profile && profile && exam.profile !== profile ? make("p", { class: "notice" }, word("js.other-profile", { id: exam.profile })) : null;
  one("#exam-facts").replaceChildren(make("dl", { class: "facts" }, ...list), ...(other ? [other] : []));
  one("#pseudonym").textContent = exam.pseudonym;
}

async function showPair(exam) {
  if (!exam.pair_id) return;
  const other = await ask("GET", `/api/v1/exams/${exam.pair_id}`).catch(() => null);
  if (!other) return;
  const same = other.answer && exam.answer && other.answer.predicted === exam.answer.predicted;
  const values = other.answer ? { label: other.answer.predicted, probability: percent(other.answer.probabilities[other.answer.predicted]) } : {};
  const text = !other.answer ? "js.pair-waits" : same ? "js.pair-same" : "js.pair-differs";
  const link = make("a", { href: `/exams/${other.id}` }, word("js.pair-open"));
  const place = one("#pair");
  place.replaceChildren(make("p", { class: other.answer && !same ? "bad" : "" }, `${kindOf(other)}: ${other.answer ? `${top(other)}. ` : ""}${word(text, values)} `, link));
  place.hidden = false;
  await addView(other, kindOf(other));
}

function showReview(exam) {
  const may = role === "physician", form = one("#review");
  form.hidden = !exam.answer || (!may && !exam.review);
  one("#verdict").hidden = !may;
  const { review } = exam;
  one("#reviewed").textContent = review
    ? word("js.by", { verdict: word(`js.verdict.${review.verdict}`, { label: review.label }), by: review.by, at: review.at ? moment(review.at) : "" })
    : "";
  if (!exam.answer || one("#label").options.length) return;
  const others = Object.keys(exam.answer.probabilities).filter((label) => label !== exam.answer.predicted);
  one("#label").replaceChildren(...others.map((label) => make("option", { value: label }, label)));
}

async function judge(verdict, label) {
  try {
    await ask("POST", `/api/v1/exams/${id}/review`, { verdict, label });
    say(word("js.saved"), "good");
    const exam = await ask("GET", `/api/v1/exams/${id}`);
    showReview(exam);
  } catch (error) {
    say(error.message, "bad");
  }
}

async function show(exam) {
  showAnswer(exam);
  showReview(exam);
  await showFacts(exam);
  if (shown || exam.state !== "answered") return;
  shown = exam.id;
  await addView(exam, kindOf(exam));
  await showPair(exam);
}

start();
readTools();
if (role === "clinic") items().then(() => begin(), () => {}); // the outbox is sent from this page too
one("#confirm").addEventListener("click", () => judge("confirm", ""));
one("#disagree").addEventListener("click", () => judge("disagree", one("#label").value));
one("#print").addEventListener("click", () => print());

const shownSafely = (exam) => show(exam).catch((error) => say(error.message, "bad"));
try {
  const exam = await ask("GET", `/api/v1/exams/${encodeURIComponent(id)}`);
  if (!hasEnded(exam)) follow(id, shownSafely);
  await shownSafely(exam);
} catch (error) {
  one("#answer").replaceChildren();
  say(error.message, "bad");
}
