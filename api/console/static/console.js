// Makes quick what works without it: results while typing, keys, older pages in place.
"use strict";
(() => {
  const fragment = { "X-Fragment": "1" };
  const typing = (node) => node.matches("input, textarea, select, [contenteditable]");

  for (const button of document.querySelectorAll("[data-opens]")) {
    button.hidden = false;
    button.addEventListener("click", () => document.getElementById(button.dataset.opens).showModal());
  }
  // a form that was sent is not sent again by an impatient click; its own key would refuse to do it twice anyway
  document.addEventListener("submit", (event) => {
    if (event.target.dataset.sent) event.preventDefault();
    event.target.dataset.sent = "1";
    setTimeout(() => delete event.target.dataset.sent, 4000);
  });
  window.addEventListener("pageshow", () => document.querySelectorAll("form").forEach((form) => delete form.dataset.sent));

  // Results while typing. Only the answer to what was typed last is shown.
  const form = document.querySelector("form[data-live]");
  if (form) {
    const box = form.querySelector("input[type=search]"), live = document.querySelector(form.dataset.live);
    let asked = 0, waits;
    const count = document.getElementById("live-count");
    const hide = () => {
      live.hidden = true;
      live.replaceChildren();
      box.setAttribute("aria-expanded", "false");
      box.removeAttribute("aria-activedescendant");
    };
    box.addEventListener("input", () => {
      clearTimeout(waits);
      const mine = ++asked;
      if (box.value.trim().length < 2 && !/[\u3400-\u9fff]/.test(box.value)) return hide();
      waits = setTimeout(async () => {
        const answer = await fetch(form.action, { method: "POST", headers: fragment, body: new URLSearchParams(new FormData(form)) });
        if (answer.status === 401) return location.reload();
        if (mine !== asked || !answer.ok) return;
        live.innerHTML = await answer.text(); // our own server's page part: values are escaped there, and the policy runs no script in it
        live.hidden = false;
        box.setAttribute("aria-expanded", String(live.querySelector("[role=option]") !== null));
        count.textContent = live.querySelector("[data-count]")?.textContent ?? "";
      }, 80);
    });
    box.addEventListener("keydown", (event) => {
      const found = [...live.querySelectorAll("a[data-pick]")], at = found.findIndex((link) => link.classList.contains("chosen"));
      if (event.key === "Escape") hide();
      if (event.key === "/" && box.value === "") event.preventDefault(); // the key that leads here, pressed by somebody who is here
      if ((event.key === "ArrowDown" || event.key === "ArrowUp") && found.length) {
        event.preventDefault();
        const next = (at + (event.key === "ArrowDown" ? 1 : -1) + found.length + (at < 0 && event.key === "ArrowUp" ? 1 : 0)) % found.length;
        found.forEach((link, n) => {
          link.classList.toggle("chosen", n === next);
          link.setAttribute("aria-selected", String(n === next));
        });
        box.setAttribute("aria-activedescendant", found[next].id);
      }
      if (event.key === "Enter" && at >= 0) { event.preventDefault(); location.assign(found[at].href); }
    });
    document.addEventListener("click", (event) => { if (!form.contains(event.target)) hide(); });
  }

  // Older parts of the story, in place.
  document.addEventListener("click", async (event) => {
    const link = event.target.closest("a[data-more]");
    if (!link) return;
    event.preventDefault();
    const answer = await fetch(link.href, { headers: fragment });
    if (!answer.ok) return location.assign(link.href);
    const part = document.createElement("template");
    part.innerHTML = await answer.text();
    const story = document.querySelector(".story"), first = part.content.querySelector(".story li");
    story.append(...part.content.querySelectorAll(".story > li"));
    const rest = [...part.content.children].filter((node) => !node.matches(".story"));
    link.parentElement.replaceWith(...rest);
    if (first) { first.tabIndex = -1; first.focus(); }
  });

  // What is shown unmasked is masked again when its minutes are over, also on a page that was left open.
  const until = document.querySelector("[data-seconds]");
  if (until) setTimeout(() => location.reload(), 1000 * (Number(until.dataset.seconds) + 1));

  // Who reads for long is asked before the session ends, and may go on by one press.
  const ends = Number(document.body.dataset.idle), asks = document.getElementById("idle");
  if (ends && asks) {
    let warns, leaves;
    const begin = () => {
      asks.hidden = true;
      clearTimeout(warns);
      clearTimeout(leaves);
      warns = setTimeout(() => { asks.hidden = false; asks.querySelector("button").focus(); }, 1000 * (ends - 120));
      leaves = setTimeout(() => location.reload(), 1000 * (ends + 1));
    };
    begin();
    asks.querySelector("button").addEventListener("click", async () => {
      const answer = await fetch("/console/");
      if (answer.ok) begin(); else location.reload();
    });
  }

  // Single keys can be switched off: people who speak to their computer would press them by talking.
  let on = true;
  try { on = localStorage.getItem("keys") !== "off"; } catch { /* no storage: they stay on */ }
  const choice = document.getElementById("keys-on");
  if (choice) {
    choice.checked = on;
    choice.addEventListener("change", () => {
      on = choice.checked;
      try { localStorage.setItem("keys", on ? "on" : "off"); } catch { /* for this page only */ }
    });
  }

  let led = false;
  document.addEventListener("keydown", (event) => {
    if (!on || event.repeat || event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
    if (document.querySelector("dialog[open]")) return;
    const go = { h: "/console/", q: "/console/queue" };
    const customer = document.querySelector("[data-customer]");
    if (customer) go.w = `/console/customers/${customer.dataset.customer}/why`;
    if (led && go[event.key]) return location.assign(go[event.key]);
    led = event.key === "g";
    if (event.key === "/") { event.preventDefault(); document.getElementById("q")?.focus(); }
    if (event.key === "?") document.getElementById("keys")?.showModal();
    const button = document.querySelector(`button[data-key="${CSS.escape(event.key)}"]`);
    if (button) button.click();
  });
})();
