import { ask, one, say, start } from "./dom.js";

start();

/** Where to go after the login: a path of this service, or its first page. */
function next() {
  const path = new URLSearchParams(location.search).get("next") ?? "/";
  return path.startsWith("/") && !path.startsWith("//") && !path.includes("\\") ? path : "/";
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
