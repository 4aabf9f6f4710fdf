// All pages in one file: on a slow link each further file costs a round trip, a kilobyte of headers, and, where the
// browser opens a connection for it, a handshake. It is fetched once, by the login, and kept.

const pages = {
  login: () => import("./login.js"),
  send: () => import("./send.js"),
  worklist: () => import("./worklist.js"),
  exam: () => import("./exam.js"),
  admin: () => import("./admin.js"),
};

await pages[document.body.dataset.page]();
