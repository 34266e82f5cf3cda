/** The page at `/` and its data: one document, nothing from elsewhere. */
import type { Route } from "./http_server.ts";
import { jsonAnswer } from "./routes.ts";
import { PAGE_CHARTS } from "./page_charts.ts";
import { PAGE_SCRIPT } from "./page_script.ts";
import { PAGE_STYLE } from "./page_style.ts";

const POLICY = [
  "default-src 'none'",
  "style-src 'unsafe-inline'",
  "script-src 'unsafe-inline'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

const SECTIONS: readonly (readonly [id: string, title: string])[] = [
  ["hits", "Hit rate"],
  ["latency", "Lookup time by layer"],
  ["numa", "Memory by node"],
  ["plugins", "Plugins"],
  ["jobs", "Schedule"],
  ["snapshots", "Snapshots"],
  ["chain", "Last blocks"],
];
/** Where else an assistive program hears of what the keys do. */
const AFTER: Readonly<Record<string, string>> = {
  hits: '<p id="readout" role="status"></p>',
};

const PAGE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>op-dbus</title>
<style>${PAGE_STYLE}</style>
</head>
<body>
<a class="skip" href="#main">Skip to content</a>
<header>
<h1>op-dbus</h1>
<p id="status" role="status">Loading…</p>
<button id="pause" type="button" aria-pressed="false" aria-keyshortcuts="p">Pause</button>
<p id="about"></p>
</header>
<nav aria-label="Sections"><ul>${
  SECTIONS.map(([id, title], at) =>
    `<li><kbd aria-hidden="true">${at + 1}</kbd>` +
    `<a href="#${id}" aria-keyshortcuts="${at + 1}">${title}</a></li>`
  ).join("")
}</ul></nav>
<main id="main" tabindex="-1">
<dl id="figures"></dl>
${
  SECTIONS.map(([id, title]) =>
    `<section id="${id}" aria-labelledby="${id}-title"><h2 id="${id}-title">${title}</h2>` +
    `<div class="body" tabindex="0" role="group" aria-labelledby="${id}-title"></div>` +
    `${AFTER[id] ?? ""}</section>`
  ).join("\n")
}
</main>
<footer><p>Keys: 1 to 7 go to a section, arrows read the hit rate, p pauses.
For programs: <a href="/metrics">metrics</a>, <a href="/overview.json">this page's data</a>.</p></footer>
<noscript><p>This page needs JavaScript; <a href="/overview.json">the data</a> does not.</p></noscript>
<script>${PAGE_CHARTS}${PAGE_SCRIPT}</script>
</body>
</html>
`;

/** The routes of the page. */
export function pageRoutes(picture: () => Promise<unknown>): Map<string, Route> {
  return new Map<string, Route>([
    ["/", {
      method: "GET",
      limited: false,
      handle: () => ({
        type: "text/html; charset=utf-8",
        body: PAGE,
        headers: {
          "content-security-policy": POLICY,
          "x-content-type-options": "nosniff",
          "referrer-policy": "no-referrer",
        },
      }),
    }],
    ["/overview.json", {
      method: "GET",
      limited: false,
      handle: async () => jsonAnswer(await picture()),
    }],
  ]);
}
