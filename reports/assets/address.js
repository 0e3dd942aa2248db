"use strict";
// What a reader chose, kept in the address behind "#" as `image=x&a=y`: a link shows the same again.
// An address that names a part of the page (`#summary`) is one of those, and changes no choice.

const address = {
  listeners: [],

  isPart() {
    const name = location.hash.slice(1);
    let decoded = name;
    try {
      decoded = decodeURIComponent(name);
    } catch {} // no encoding of ours
    return name !== "" && (!name.includes("=") || document.getElementById(decoded) !== null);
  },

  // Whether the page was opened at this address, rather than loaded again or gone back to.
  isNew() {
    return performance.getEntriesByType("navigation")[0]?.type === "navigate";
  },

  read() {
    return new URLSearchParams(this.isPart() ? "" : location.hash.slice(1));
  },

  // Change some choices; null is what the page begins with, and is not written. Each `step` is one
  // that the back button takes back.
  write(changes, { step = false } = {}) {
    const choices = this.read();
    for (const [name, value] of Object.entries(changes)) {
      if (value === null) choices.delete(name);
      else choices.set(name, value);
    }
    const hash = choices.toString();
    if (hash === location.hash.slice(1) || (hash === "" && this.isPart())) return;
    const place = hash ? `#${hash}` : location.pathname + location.search;
    if (step) history.pushState(null, "", place);
    else history.replaceState(null, "", place);
  },

  // Call `listener` with the choices now, and whenever the address comes to hold others.
  follow(listener) {
    this.listeners.push(listener);
    listener(this.read());
  },
};

addEventListener("popstate", () => {
  if (address.isPart()) return;
  for (const listener of address.listeners) listener(address.read());
});
