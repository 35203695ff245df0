// Keeps a page up to date: it replaces the parts that have changed. Without it, links and forms do the same.
"use strict";
(() => {
  const RETRY_MS = 2000;
  const byId = (id) => document.getElementById(id);
  document.documentElement.classList.add("scripted");
  // On a phone the names of the screens do not fit side by side. Before the first frame, this would make another layout.
  requestAnimationFrame(() => {
    document.querySelector(".nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
  });

  // A viewer may want times in the zone of the browser, which only the browser knows. To ask it takes longer than all else
  // here, so the page is shown first.
  addEventListener("load", () => {
    const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "";
    if (document.cookie.includes(`browser-zone=${encodeURIComponent(zone)}`)) return;
    document.cookie = `browser-zone=${encodeURIComponent(zone)}; path=/; max-age=31536000; samesite=strict`;
  });

  // Makes `before` equal to `after`, and leaves alone what is equal. So the focus, a selection and the scroll stay.
  const morph = (before, after) => {
    if (before.nodeType !== after.nodeType || before.nodeName !== after.nodeName) {
      before.replaceWith(after);
    } else if (before.nodeType !== Node.ELEMENT_NODE) {
      if (before.data !== after.data) before.data = after.data;
    } else if (!after.matches("[data-same]") && !before.isEqualNode(after)) {
      for (const { name, value } of [...after.attributes]) {
        if (before.getAttribute(name) !== value) before.setAttribute(name, value);
      }
      for (const { name } of [...before.attributes]) if (!after.hasAttribute(name)) before.removeAttribute(name);
      // What a person has chosen or typed is not in the attributes.
      if (!before.matches("input, select, textarea")) morphChildren(before, after);
    }
  };
  // An element with an id stays the same one where it moves: a row keeps its ticked box when another row comes first.
  const morphChildren = (before, after) => {
    const known = new Map([...before.children].filter((one) => one.id).map((one) => [one.id, one]));
    let next = before.firstChild;
    for (const node of [...after.childNodes]) {
      const old = node.id ? known.get(node.id) : next?.id ? null : next;
      if (!old) before.insertBefore(node, next);
      else {
        if (old === next) next = next.nextSibling;
        else before.insertBefore(old, next);
        morph(old, node);
      }
    }
    while (next) {
      const gone = next;
      next = next.nextSibling;
      gone.remove();
    }
  };
  const fragment = (html) => {
    const holder = document.createElement("template");
    holder.innerHTML = html;
    return holder.content;
  };
  // What has come of each part, by its id. It waits while the pointer is on a control of a row: a row that moves away gives
  // its click to another.
  const late = new Map();
  const show = (id) => {
    const focused = document.activeElement;
    if (byId(id)?.querySelector("tr[id] :is(a, button, label):hover")) return;
    if (byId(id)) morphChildren(byId(id), late.get(id));
    late.delete(id);
    // An element that moves loses the focus.
    if (focused?.isConnected) focused.focus({ preventScroll: true });
  };
  const replace = ({ id, html }) => {
    const after = fragment(html);
    // A row that comes empty is the one that has come before.
    for (const row of after.querySelectorAll("[data-same]")) row.replaceWith(late.get(id)?.getElementById(row.id) ?? row);
    late.set(id, after);
    show(id);
  };
  addEventListener("mouseout", () => setTimeout(() => [...late.keys()].forEach(show)));

  // The output of a run grows at its end.
  const append = ({ html }) => {
    const output = byId("output");
    if (!output) return;
    output.append(fragment(html));
    if (byId("no-output")) byId("no-output").remove();
    if (byId("follow") && byId("follow").checked) output.lastElementChild.scrollIntoView({ block: "nearest" });
  };

  let stream = null;
  let position = "";
  const connected = (is) => {
    const band = byId("lost");
    if (!is && band.hidden) band.querySelector("b").textContent = new Date().toLocaleTimeString();
    band.hidden = is;
    document.body.classList.toggle("stale", !is);
  };
  const open = () => {
    if (stream || document.hidden) return;
    const address = new URL(document.body.dataset.stream, location);
    if (position) address.searchParams.set("position", position);
    stream = new EventSource(address);
    stream.onopen = () => connected(true);
    stream.onmessage = (event) => replace(JSON.parse(event.data));
    stream.addEventListener("output", (event) => {
      position = event.lastEventId;
      append(JSON.parse(event.data));
    });
    stream.addEventListener("reload", () => location.reload());
    stream.addEventListener("template", (event) => {
      if (JSON.parse(event.data) !== document.body.dataset.template) location.reload();
    });
    stream.onerror = () => {
      connected(false);
      // After some errors a browser does not try again.
      if (stream && stream.readyState === EventSource.CLOSED) {
        close();
        setTimeout(open, RETRY_MS);
      }
    };
  };
  const close = () => {
    if (stream) stream.close();
    stream = null;
  };
  // A browser opens six connections to a server at most, so a tab that nobody sees gives up its own.
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  addEventListener("pagehide", close);
  addEventListener("pageshow", open);

  // A choice that takes effect at once needs no button.
  for (const select of document.querySelectorAll(".zone select")) {
    select.addEventListener("change", () => select.form.submit());
  }

  // A line is checked while it is typed. The button below always adds what is in the field.
  const line = byId("line");
  let waiting = 0;
  const check = async () => {
    const answer = await fetch(`/jobs/new?line=${encodeURIComponent(line.value)}`).catch(() => null);
    const page = new DOMParser().parseFromString(answer ? await answer.text() : "", "text/html");
    // The answer may be late, or an error.
    if (page.getElementById("line")?.getAttribute("value") !== line.value.trim()) return;
    for (const id of ["verdict", "add"]) morph(byId(id), page.getElementById(id));
  };
  line?.addEventListener("input", () => {
    byId("added").value = line.value.trim();
    clearTimeout(waiting);
    waiting = setTimeout(check, 250);
  });
})();
