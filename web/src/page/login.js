import { ask, one, say, start } from "./dom.js";

start();

/** Where to go after the login: a path of this service, or its first page. */
function next() {
  const path = new URLSearchParams(location.search).get("next") ?? "/";
  const to = new URL(path, location.origin); // as the browser will read it, tabs and backslashes too
  return to.origin === location.origin ? to.pathname + to.search : "/";
}

one("#login").addEventListener("submit", async (event) => {
  event.preventDefault();
  const { name, password } = event.target.elements, button = one("button", event.target);
  button.disabled = true;
  try {
    await ask("POST", "/api/v1/login", { name: name.value, password: password.value });
    location.assign(next());
  } catch (error) {
    say(error.message, "bad");
    password.value = "";
    password.focus();
  } finally {
    button.disabled = false;
  }
});
