// A small client that asks as the clients of the PHP API do: XMLHttpRequest, JSON under the content type of a
// form, withCredentials off; on load empty credentials, to find out whether the cookie still holds.
"use strict";

const API = new URLSearchParams(location.search).get("api") || "../";  // for example ?api=/cmail/api/
const element = (id) => document.getElementById(id);
let edited = null;

function ask(url, fields, then) {
  const request = new XMLHttpRequest();
  request.open("POST", API + url);
  request.setRequestHeader("Content-Type", "application/x-www-form-urlencoded");
  request.withCredentials = false;
  request.onload = () => {
    const answer = JSON.parse(request.responseText);
    tell(answer.status);
    if (answer.login === false) showLogin();
    then(answer);
  };
  request.onerror = () => tell("The API cannot be reached.");
  request.send(JSON.stringify(fields));
}

function tell(status) {
  element("status").textContent = status;
  element("status").className = status === "ok" ? "" : "refused";
}

function showLogin() {
  element("main").hidden = true;
  element("edit").hidden = true;
  element("login").hidden = false;
}

function logIn(user_name, password) {
  ask("?login", { auth: { user_name, password } }, (answer) => {
    if (!answer.login) return;
    element("login").hidden = true;
    element("main").hidden = false;
    element("who").textContent = answer.auth_user;
    list();
  });
}

function list(then) {
  ask("users/?get", {}, (answer) => {
    if (answer.status !== "ok") return;
    element("users").replaceChildren(...answer.users.map(row));
    if (then) then();
  });
}

function row(user) {
  const line = document.createElement("tr");
  line.dataset.user = user.user_name;
  const modules = Object.keys(user.modules).join(", ");
  for (const value of [user.user_name, user.user_alias ?? "", user.has_login ? "yes" : "no", user.mails, modules]) {
    line.insertCell().textContent = value;
  }
  const button = document.createElement("button");
  button.textContent = "Edit";
  button.onclick = () => edit(user.user_name);
  line.insertCell().append(button);
  return line;
}

function edit(username) {
  ask("users/?get", { username }, (answer) => {
    if (answer.status !== "ok") return;
    const user = answer.users[0];
    edited = user.user_name;
    element("edited").textContent = edited;
    element("edit").reset();
    element("edit").elements.user_alias.value = user.user_alias ?? "";
    element("edit").elements.user_permissions.value = user.user_permissions.join(" ");
    element("edit").hidden = false;
  });
}

// Three requests at the same time, and one sentence of what came of them.
function save(fields) {
  const user_name = edited;
  const refusals = [];
  const requests = [["update_alias", { user_alias: fields.user_alias }],
    ["update_permissions", { user_permissions: fields.user_permissions.split(" ").filter(Boolean) }]];
  if (fields.user_authdata) requests.unshift(["set_password", { user_authdata: fields.user_authdata }]);
  let open = requests.length;
  for (const [action, values] of requests) {
    ask(`users/?${action}`, { user_name, ...values }, (answer) => {
      if (answer.status !== "ok") refusals.push(answer.status);
      if (--open === 0 && answer.login) {
        element("edit").hidden = true;
        list(() => tell(refusals.join(" ") || `Saved ${user_name}.`));
      }
    });
  }
}

function onSubmit(id, use) {
  element(id).addEventListener("submit", (event) => {
    event.preventDefault();
    use(Object.fromEntries(new FormData(event.target)));
    event.target.reset();
  });
}

onSubmit("login", (fields) => logIn(fields.user_name, fields.password));
onSubmit("add", (fields) => ask("users/?add", fields, (answer) => {
  if (answer.user) list(() => tell(`Added ${fields.user_name}.`));
}));
onSubmit("edit", save);
element("logout").onclick = () => ask("?logout", {}, () => {});
logIn("", "");
