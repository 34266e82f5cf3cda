/** The page's style: system fonts, light and dark by the reader's setting. */
export const PAGE_STYLE = `
:root { color-scheme: light dark; --ink: #16202b; --dim: #55636f; --back: #f3f5f7;
  --card: #fff; --line: #d9dfe5; --a: #0b6bcb; --b: #b8660a; --c: #0d8276; --d: #a52a6a;
  --e: #7d8a96; --free: #e3e8ed; --good: #17703a; --bad: #b42318; --shadow: 0 1px 2px #0001; }
@media (prefers-color-scheme: dark) { :root { --ink: #e7edf3; --dim: #9eabb7; --back: #0d1218;
  --card: #151c24; --line: #2b3541; --a: #58a6ff; --b: #e8a14d; --c: #3fc6b4; --d: #f08ab9;
  --e: #77848f; --free: #232d38; --good: #48c46f; --bad: #ff8378; --shadow: none; } }
* { box-sizing: border-box; }
body { margin: 0; font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--back); }
header, nav, main, footer, noscript p { max-width: 76rem; margin: 0 auto; padding: 0 1rem; }
header { display: flex; flex-wrap: wrap; align-items: center; gap: .25rem 1rem; padding-top: 1.25rem; }
h1 { font-size: 1.5rem; line-height: 1.2; margin: 0; letter-spacing: -.01em; }
h2 { font-size: 1.05rem; margin: 0 0 .75rem; }
h3 { font-size: .95rem; margin: 0 0 .35rem; }
small { color: var(--dim); font-weight: 400; font-size: .8rem; }
#status { margin: 0; font-weight: 600; }
#status::before { content: ""; display: inline-block; width: .65em; height: .65em; margin-right: .45em;
  border-radius: 50%; background: currentColor; }
#about { margin: 0; color: var(--dim); flex-basis: 100%; font-size: .92rem; overflow-wrap: anywhere; }
.good { color: var(--good); } .bad { color: var(--bad); } .dim { color: var(--dim); }
button { font: inherit; font-size: .92rem; color: inherit; background: var(--card); border: 1px solid var(--line);
  border-radius: 6px; padding: .2rem .8rem; margin-left: auto; cursor: pointer; }
button[aria-pressed=true] { background: var(--ink); color: var(--card); }
nav { position: sticky; top: 0; z-index: 1; background: var(--back); }
nav ul { display: flex; gap: .25rem 1.1rem; list-style: none; padding: .6rem 0; margin: 0;
  overflow-x: auto; white-space: nowrap; border-bottom: 1px solid var(--line); }
nav kbd { color: var(--dim); font: .75rem ui-monospace, monospace; margin-right: .3em; }
a { color: var(--a); text-underline-offset: .2em; }
nav a { text-decoration: none; } nav a:hover { text-decoration: underline; }
:focus-visible { outline: 3px solid var(--a); outline-offset: 2px; border-radius: 4px; }
.skip { position: absolute; left: -999px; z-index: 2; }
.skip:focus { left: 1rem; top: .5rem; background: var(--card); padding: .5rem; }
main { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 1rem; padding-top: 1rem; padding-bottom: 1rem; }
main:focus { outline: none; }
.stale main { opacity: .9; filter: saturate(.5); }
#figures { grid-column: 1 / -1; display: grid; gap: .75rem; margin: 0;
  grid-template-columns: repeat(auto-fit, minmax(8.2rem, 1fr)); }
#figures div, section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; box-shadow: var(--shadow); }
#figures div { padding: .55rem .9rem; }
#figures dt { color: var(--dim); font-size: .85rem; }
#figures dd { margin: 0; font-size: 1.35rem; line-height: 1.25; font-variant-numeric: tabular-nums; white-space: nowrap; }
#figures small { display: block; white-space: normal; line-height: 1.35; }
section { padding: 1rem 1.1rem; min-width: 0; scroll-margin-top: 3.5rem; }
#hits, #chain, #snapshots { grid-column: 1 / -1; }
.body { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .92rem; }
th { text-align: left; color: var(--dim); font-weight: 600; white-space: nowrap; }
td:first-child { white-space: nowrap; }
th, td { padding: .35rem .75rem .35rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th:last-child, td:last-child { padding-right: 0; }
tbody tr:last-child td { border-bottom: 0; }
td.number, th.number { text-align: right; white-space: nowrap; }
code { font: .86em ui-monospace, monospace; }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--dim); font: 12px system-ui, sans-serif; }
svg text.strong { fill: var(--ink); font-size: 13px; }
.grid { stroke: var(--line); } .axis { stroke: var(--e); }
.rate { fill: none; stroke: var(--ink); stroke-width: 2; stroke-linejoin: round; }
.rate-dot { fill: var(--ink); }
.cursor { stroke: var(--a); stroke-width: 2; stroke-dasharray: 4 3; }
.range { stroke-width: 4; opacity: .45; }
.snapshot { fill: var(--a); fill-opacity: .75; stroke: var(--card); stroke-width: 1.5; }
.key { display: flex; gap: .2rem 1rem; flex-wrap: wrap; color: var(--dim); font-size: .85rem; margin: .5rem 0 0; }
.key span::before { content: ""; display: inline-block; width: .75em; height: .75em; margin-right: .4em; background: var(--of); border-radius: 2px; outline: 1px solid var(--line); }
#readout { min-height: 1.5em; margin: .35rem 0 0; font-size: .92rem; font-variant-numeric: tabular-nums; }
.note { color: var(--dim); font-size: .85rem; margin: .35rem 0 0; }
.empty { color: var(--dim); padding: .5rem 0; }
.empty p { margin: 0 0 .35rem; }
.empty code { display: inline-block; color: var(--ink); background: var(--back); border: 1px solid var(--line); border-radius: 6px; padding: .3rem .6rem; overflow-wrap: anywhere; }
.pill { font-size: .8rem; border: 1px solid currentColor; border-radius: 99px; padding: 0 .6em; }
.node + .node { margin-top: 1rem; }
.bar { display: flex; height: 1.6rem; border-radius: 5px; overflow: hidden; gap: 1px; background: var(--line); }
.bar span { flex: 0 1 0; background: var(--of); }
.facts { display: flex; flex-wrap: wrap; gap: .25rem 1.4rem; margin: .45rem 0 0; font-variant-numeric: tabular-nums; }
.facts dt { color: var(--dim); font-size: .8rem; } .facts dd { margin: 0; font-size: .92rem; }
.blocks { list-style: none; margin: 0; padding: 0; }
.blocks li { position: relative; display: grid; grid-template-columns: 4.2rem minmax(0, 1fr) auto; gap: 0 1rem; padding: .45rem 0 .45rem 1.3rem; }
.blocks li::before { content: ""; position: absolute; left: .1rem; top: .95rem; width: .7rem; height: .7rem; border-radius: 3px; background: var(--a); }
.blocks li:not(:last-child)::after { content: ""; position: absolute; left: .38rem; top: 1.7rem; bottom: -.9rem; width: 2px; background: var(--line); }
.blocks .height { font-variant-numeric: tabular-nums; color: var(--dim); }
.blocks .what { overflow-wrap: anywhere; } .blocks .note { grid-column: 2; margin: 0; }
.blocks code { grid-column: 3; grid-row: 1; color: var(--dim); }
footer { color: var(--dim); font-size: .85rem; padding-bottom: 2rem; }
@media (max-width: 52rem) { main { grid-template-columns: minmax(0, 1fr); } nav kbd { display: none; }
  section { padding: .9rem .8rem; } .blocks li { grid-template-columns: 3.2rem minmax(0, 1fr); }
  .blocks code { grid-column: 2; grid-row: auto; } }
@media (max-width: 30rem) { #status { order: 1; flex-basis: 100%; } #about { order: 2; }
  #jobs :is(th, td):is(:nth-child(2), :nth-child(4)) { display: none; } }
@media (prefers-reduced-motion: no-preference) { html { scroll-behavior: smooth; } }
@media (forced-colors: active) { .bar span, .key span::before { forced-color-adjust: none; } }
`;
