"use strict";
/* The examples: this server's own address in each, and a button that copies it. */

for (const pre of document.querySelectorAll("pre")) {
  pre.textContent = pre.textContent.replaceAll("http://127.0.0.1:8080", location.origin);
  pre.tabIndex = 0;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(pre.textContent);
      button.textContent = "Copied";
    } catch { // where the browser gives no clipboard, as without https
      getSelection().selectAllChildren(pre);
      button.textContent = document.execCommand("copy") ? "Copied" : "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
  const box = document.createElement("div");
  box.className = "example";
  pre.replaceWith(box);
  box.append(pre, button);
}

/* A link to an operation opens it. */
const open = () => { const target = location.hash && document.getElementById(location.hash.slice(1)); if (target instanceof HTMLDetailsElement) target.open = true; };
addEventListener("hashchange", open);
open();
