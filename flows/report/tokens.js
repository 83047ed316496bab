"use strict";
// The values of the token that the mouse or the arrow keys point at, and the skills that name it.
for (const episode of document.querySelectorAll(".episode")) {
  const tokens = Array.from(episode.querySelectorAll(".t"));
  const values = episode.querySelector(".values");
  if (!tokens.length || !values) continue;
  const hint = values.textContent;
  let chosen = null;

  const show = (token) => {
    for (const card of episode.querySelectorAll(".named")) card.classList.remove("named");
    values.classList.toggle("live", Boolean(token));
    if (!token) { values.textContent = hint; return; }
    const { gap, gate, student, teacher, skills, named } = token.dataset;
    const said = skills ? ", named in " + skills : "";
    values.textContent = "“" + token.textContent.trim() + "” gap " + gap + " nats, gate " + gate
      + ": student " + student + ", teacher " + teacher + said;
    for (const place of (named || "").split(" ").filter(Boolean)) {
      const card = episode.querySelector('[data-place="' + place + '"]');
      if (card) card.classList.add("named");
    }
  };
  const choose = (token) => {
    for (const other of tokens) { other.tabIndex = -1; other.setAttribute("aria-selected", "false"); }
    token.tabIndex = 0;
    token.setAttribute("aria-selected", "true");
    chosen = token;
    show(token);
  };
  const inTurn = (token, step) => {
    const turns = Array.from(new Set(tokens.map((each) => each.parentElement)));
    const next = turns[turns.indexOf(token.parentElement) + step];
    return next ? next.querySelector(".t") : token;
  };
  const moves = {
    ArrowRight: (token) => tokens[tokens.indexOf(token) + 1],
    ArrowLeft: (token) => tokens[tokens.indexOf(token) - 1],
    ArrowDown: (token) => inTurn(token, 1),
    ArrowUp: (token) => inTurn(token, -1),
    Home: () => tokens[0],
    End: () => tokens[tokens.length - 1],
  };

  tokens[0].tabIndex = 0;
  episode.addEventListener("focusin", (event) => {
    if (event.target.classList.contains("t")) choose(event.target);
  });
  episode.addEventListener("click", (event) => {
    const token = event.target.closest(".t");
    if (token) token.focus();
  });
  episode.addEventListener("pointerover", (event) => show(event.target.closest(".t") || chosen));
  episode.addEventListener("pointerleave", () => show(chosen));
  episode.addEventListener("keydown", (event) => {
    const move = moves[event.key];
    if (!move || !event.target.classList.contains("t")) return;
    event.preventDefault();
    const next = move(event.target);
    if (next) next.focus();
  });
}
