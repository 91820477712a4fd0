"use strict";

const API = new URL("../", location.href);
const byId = id => document.getElementById(id);
let actions = [];  // {path, method, module, operation}
let current = null;

function element(name, text, attributes = {}) {
    const made = document.createElement(name);
    made.textContent = text || "";
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
}

async function send(path, body, method = "POST") {
    const options = {method, credentials: "same-origin", cache: "no-store"};
    if (body !== undefined) {
        options.body = JSON.stringify(body);
        options.headers = {"Content-Type": "application/json"};
    }
    return fetch(new URL(path, API), options);
}

/* The log-in: its session is the cookie's, as for every client. */

async function showUser() {
    const found = await (await send("?login", {})).json();
    byId("who").textContent = found.login ? `Logged in as ${found.auth_user}.` : "Not logged in.";
    byId("log-in").hidden = Boolean(found.login);
    byId("log-out").hidden = !found.login;
}

byId("log-in").addEventListener("submit", async event => {
    event.preventDefault();
    const form = new FormData(event.target);
    const auth = {user_name: form.get("user_name"), password: form.get("password")};
    const found = await (await send("?login", {auth})).json();
    event.target.elements.password.value = "";
    await showUser();
    if (!found.login) byId("who").textContent = found.status;
});

byId("log-out").addEventListener("click", async () => {
    await send("?logout", {});
    await showUser();
});

/* The list of actions. */

function readDocument(found) {
    for (const [path, methods] of Object.entries(found.paths)) {
        const method = methods.post ? "post" : "get";
        const operation = methods[method];
        actions.push({path: path.slice(1), method, operation, module: operation.tags[0]});
    }
}

function listActions() {
    const wanted = byId("filter").value.trim().toLowerCase();
    const list = byId("actions");
    list.replaceChildren();
    let group = null, module = null;
    for (const action of actions) {
        const text = `${action.path} ${action.operation.summary}`.toLowerCase();
        if (!text.includes(wanted)) continue;
        if (action.module !== module) {
            module = action.module;
            group = element("ul");
            list.append(element("h2", module), group);
        }
        const button = element("button", action.path, {type: "button", title: action.operation.summary});
        if (action === current) button.setAttribute("aria-current", "true");
        button.addEventListener("click", () => choose(action));
        const item = element("li");
        item.append(button);
        group.append(item);
    }
    if (!group) list.append(element("p", "No action has this in its name or its first sentence."));
}

byId("filter").addEventListener("input", listActions);

/* One action. */

function schemaOf(action) {
    const content = action.operation.requestBody?.content?.["application/json"];
    return content?.schema || {properties: {}};
}

function kindOf(schema) {
    const types = [].concat(schema.type || []).filter(type => type !== "null");
    return types.length === 1 ? types[0] : "";
}

function control(name, schema) {
    const kind = kindOf(schema);
    if (kind === "boolean") {
        const select = element("select", "", {name});
        for (const [value, text] of [["", "not sent"], ["true", "true"], ["false", "false"]])
            select.append(element("option", text, {value}));
        return select;
    }
    if (["array", "object", ""].includes(kind)) return element("textarea", "", {name, rows: 3, spellcheck: "false"});
    const type = schema.format === "password" ? "password" : "text";
    return element("input", "", {name, type, autocomplete: "off", spellcheck: "false"});
}

function hint(schema, required) {
    const kinds = {
        string: "Text", integer: "A whole number", number: "A number", boolean: "True or false",
        array: "A list, as JSON or separated by commas", object: "An object, as JSON",
    };
    const kind = kinds[kindOf(schema)] || "JSON";
    return [schema.description, `${kind}${required ? ", needed" : ""}.`].filter(Boolean).join(" ");
}

function choose(action) {
    current = action;
    listActions();
    byId("name").textContent = action.path;
    byId("summary").textContent = action.operation.summary;
    const lines = action.operation.description || "";
    byId("description").textContent = lines.replace(/([^\n])\n(?!\n)/g, "$1 ");  // one line a paragraph
    const schema = schemaOf(action), fields = byId("fields");
    fields.replaceChildren();
    for (const [name, each] of Object.entries(schema.properties || {})) {
        const required = (schema.required || []).includes(name);
        const box = element("div", "", {class: "field"}), input = control(name, each);
        input.id = `field-${name}`;
        input.setAttribute("aria-describedby", `hint-${name}`);
        if (required) input.required = true;
        box.append(element("label", name, {for: input.id}), input, element("p", hint(each, required), {class: "hint", id: `hint-${name}`}));
        fields.append(box);
    }
    byId("request").hidden = false;
    for (const id of ["answer", "answer-heading"]) byId(id).hidden = true;
    byId("status").textContent = "";
    showCommand();
    byId("action").focus();
}

function valueOf(text, schema) {
    const kind = kindOf(schema);
    if (kind === "boolean") return text === "true";
    if (kind === "integer" || kind === "number") return /^-?\d{1,15}$/.test(text.trim()) ? Number(text) : text;
    if (kind === "string") return text;
    try {
        return JSON.parse(text);
    } catch {
        return kind === "array" ? text.split(",").map(entry => entry.trim()).filter(Boolean) : text;
    }
}

function body() {
    const properties = schemaOf(current).properties || {}, found = {};
    for (const input of byId("fields").querySelectorAll("[name]"))
        if (input.value !== "") found[input.name] = valueOf(input.value, properties[input.name]);
    return found;
}

function showCommand() {
    const shown = body();
    for (const input of byId("fields").querySelectorAll("[type=password]"))
        if (input.value !== "") shown[input.name] = "…";
    const quoted = JSON.stringify(shown).replaceAll("'", "'\\''");
    byId("curl").textContent = `curl -su USER '${new URL(current.path, API)}' --json '${quoted}'`;
    for (const id of ["curl", "curl-heading"]) byId(id).hidden = false;
}

byId("request").addEventListener("input", showCommand);

byId("request").addEventListener("submit", async event => {
    event.preventDefault();
    const status = byId("status");
    status.textContent = "Sending …";
    try {
        const response = current.method === "post" ? await send(current.path, body()) : await send(current.path, undefined, "GET");
        const text = await response.text();
        let shown = text;
        try {
            shown = JSON.stringify(JSON.parse(text), null, 2);
        } catch { /* a file */ }
        status.textContent = `HTTP ${response.status}`;
        byId("answer").textContent = shown.slice(0, 1_000_000);
    } catch (error) {
        status.textContent = `No answer: ${error.message}`;
        byId("answer").textContent = "";
    }
    for (const id of ["answer", "answer-heading"]) byId(id).hidden = false;
});

async function start() {
    readDocument(await (await fetch(new URL("openapi.json", API), {cache: "no-store"})).json());
    listActions();
    await showUser();
}

start().catch(error => { byId("status").textContent = `The list of actions cannot be loaded: ${error.message}`; });
