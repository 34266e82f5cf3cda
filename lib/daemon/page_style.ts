/** The page's style: system fonts, light and dark by the reader's setting. */
export const PAGE_STYLE = `
:root { color-scheme: light dark; --ink: #1c2733; --dim: #5a6875; --back: #f6f8fa;
  --card: #fff; --line: #d5dce3; --a: #0b6bcb; --b: #b85c00; --c: #8a2be2; --good: #1a7f37;
  --bad: #b42318; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --dim: #9aa7b4; --back: #0d1117;
  --card: #161b22; --line: #30363d; --a: #58a6ff; --b: #f0a04b; --c: #c297ff; --good: #3fb950;
  --bad: #ff7b72; } }
* { box-sizing: border-box; }
body { margin: 0; font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--back); }
header, nav, main, noscript p { max-width: 72rem; margin: 0 auto; padding: 0 1rem; }
header { display: flex; flex-wrap: wrap; align-items: baseline; gap: 0 1rem; padding-top: 1rem; }
h1 { font-size: 1.5rem; margin: 0; }
h2 { font-size: 1.05rem; margin: 0 0 .5rem; }
#status { margin: 0; color: var(--dim); }
#status.bad { color: var(--bad); }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1rem; list-style: none; padding: 0; }
a { color: var(--a); }
a:focus-visible, .body:focus-visible, main:focus-visible { outline: 3px solid var(--a); outline-offset: 2px; }
.skip { position: absolute; left: -999px; }
.skip:focus { left: 1rem; top: .5rem; background: var(--card); padding: .5rem; }
main { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr)); gap: 1rem; padding-bottom: 2rem; }
#figures { grid-column: 1 / -1; display: grid; gap: .75rem; margin: 0;
  grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); }
#figures div { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: .5rem 1rem; }
#figures dt { color: var(--dim); font-size: .85rem; }
#figures dd { margin: 0; font-size: 1.4rem; font-variant-numeric: tabular-nums; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 1rem; min-width: 0; scroll-margin-top: 1rem; }
#hits, #chain, #snapshots { grid-column: 1 / -1; }
.body { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .92rem; }
th { text-align: left; color: var(--dim); font-weight: 600; }
th, td { padding: .25rem .75rem .25rem 0; border-bottom: 1px solid var(--line); white-space: nowrap; }
td.number, th.number { text-align: right; }
code { font: .88em ui-monospace, monospace; }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--dim); font: 12px system-ui, sans-serif; }
.key { display: flex; gap: 1rem; flex-wrap: wrap; color: var(--dim); font-size: .88rem; }
.key span::before { content: ""; display: inline-block; width: .8em; height: .8em; margin-right: .4em; background: var(--of); border-radius: 2px; }
.empty { color: var(--dim); margin: 0; }
.bad { color: var(--bad); }
@media (prefers-reduced-motion: no-preference) { html { scroll-behavior: smooth; } }
`;
