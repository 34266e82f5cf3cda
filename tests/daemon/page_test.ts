import { Layout } from "../../lib/base/layout.ts";
import { ChainRecorder } from "../../lib/chain/recorder.ts";
import { assertEquals, assertIncludes, assertTrue } from "../support/assert.ts";
import { plainRoot, type TestRoot } from "../support/cli_root.ts";
import { openPage } from "./chromium.ts";
import { startServe } from "./serve_process.ts";

/** True once the page has shown its first data. */
const DRAWN = `Boolean(document.querySelector("#about")?.textContent)`;

Deno.test("the page shows the service in Chromium, without a word on its console", async () => {
  await using root = await plainRoot();
  using recorder = new ChainRecorder(new Layout(root.path), { who: "<b>alice</b>" });
  const subject = "<script>document.title='owned'</script>";
  await recorder.record({ category: "plugin", action: "install", subject, data: {} });
  const serve = await startServe(root, ["--listen", "127.0.0.1:0"]);
  try {
    const port = /host=127\.0\.0\.1 port=(\d+)/.exec(serve.log())![1];
    const base = `http://127.0.0.1:${port}`;
    const body = JSON.stringify({ input: ["one", "two", "one"] });
    const answer = await fetch(`${base}/v1/embeddings`, { method: "POST", body });
    await answer.body?.cancel();
    await using shown = await openPage(`${base}/`);
    await shown.until(DRAWN);
    assertEquals(shown.said, []);
    const dom: string = await shown.evaluate("document.documentElement.outerHTML");
    assertIncludes(dom, "<title>op-dbus</title>");
    assertIncludes(dom, /<dt>Texts answered<\/dt><dd>3<small>2 computed<\/small>/);
    assertIncludes(dom, /<dt>Chain height<\/dt><dd>2<small>/);
    assertIncludes(dom, "&lt;script&gt;document.title='owned'&lt;/script&gt;");
    assertIncludes(dom, "&lt;b&gt;alice&lt;/b&gt;");
    assertIncludes(dom, "computed: half within");
    assertTrue(!/(?:src|href)="(?:https?:)?\/\//.test(dom), "nothing from elsewhere");
    const page = await fetch(`${base}/`);
    await page.body?.cancel();
    assertIncludes(page.headers.get("content-security-policy")!, "default-src 'none'");
  } finally {
    assertEquals(await serve.stop(), 0);
  }
});

/** A service whose page can be looked at, and where it is. */
async function pageOf(root: TestRoot) {
  const serve = await startServe(root, ["--listen", "127.0.0.1:0"]);
  const port = /host=127\.0\.0\.1 port=(\d+)/.exec(serve.log())![1];
  return { serve, base: `http://127.0.0.1:${port}` };
}

const FOCUS = `document.activeElement?.closest("section, nav, button, .skip")`;

Deno.test("all of the page can be used by keyboard", async () => {
  await using root = await plainRoot();
  const { serve, base } = await pageOf(root);
  await using _stop = serve;
  await using page = await openPage(`${base}/`);
  await page.until(DRAWN);
  await page.press("Tab");
  assertEquals(
    await page.evaluate("document.activeElement.textContent"),
    "Skip to content",
  );
  await page.press("Enter");
  assertEquals(await page.evaluate("document.activeElement.id"), "main");
  // Every section is reached by Tab, with an outline that can be seen.
  const reached = new Set<string>();
  for (let i = 0; i < 30; i++) {
    await page.press("Tab");
    const id = await page.evaluate(`${FOCUS}?.id ?? ""`);
    if (id === "") continue;
    reached.add(id);
    const outline = "getComputedStyle(document.activeElement).outlineStyle";
    assertEquals(await page.evaluate(outline), "solid");
  }
  const ids = ["hits", "latency", "numa", "plugins", "jobs", "snapshots", "chain"];
  assertEquals(ids.filter((id) => !reached.has(id)), []);
  for (const [at, id] of ids.entries()) {
    await page.press(String(at + 1));
    assertEquals(await page.evaluate(`${FOCUS}?.id`), id);
  }
  await page.press("p");
  assertEquals(
    await page.evaluate("document.querySelector('#pause').ariaPressed"),
    "true",
  );
  await page.press("p");
  assertEquals(
    await page.evaluate("document.querySelector('#pause').ariaPressed"),
    "false",
  );
  assertEquals(page.said, []);
});

Deno.test("arrow keys read the hit rate, sample by sample", async () => {
  await using root = await plainRoot();
  const { serve, base } = await pageOf(root);
  await using _stop = serve;
  await using page = await openPage(`${base}/`);
  await page.until(DRAWN);
  // Samples take ten seconds each: these are drawn by the page's own code.
  await page.evaluate(`clearTimeout(timer); paused = true; latest.history = [
    { time: 0, memory: 0, disk: 0, shared: 0, model: 0 },
    { time: 10000, memory: 0, disk: 0, shared: 0, model: 4 },
    { time: 20000, memory: 2, disk: 1, shared: 0, model: 1 }]; draw()`);
  const heard = () => page.evaluate("document.querySelector('#readout').textContent");
  await page.press("1");
  await page.press("ArrowLeft");
  const last =
    "1970-01-01 00:00:20 UTC: 75.0 % hits of 4 texts (2 memory, 1 disk, 1 computed)";
  assertEquals(await heard(), last);
  await page.press("ArrowLeft");
  assertIncludes(await heard(), "00:00:10 UTC: 0.0 % hits of 4 texts (4 computed)");
  await page.press("ArrowLeft");
  assertIncludes(await heard(), "00:00:10");
  await page.press("End");
  assertEquals(await heard(), last);
  await page.press("Home");
  await page.press("ArrowRight");
  assertEquals(await heard(), last);
  assertEquals(await page.evaluate("document.querySelectorAll('.cursor').length"), 1);
  await page.press("Escape");
  assertEquals(await heard(), "");
  assertEquals(page.said, []);
});

/** Words of charts that are cut off, or touch another. */
const CROWDED = `[...document.querySelectorAll("svg")].flatMap((svg) => {
  const frame = svg.getBoundingClientRect();
  const words = [...svg.querySelectorAll("text")].map((text) => {
    const { left, right, top, bottom } = text.getBoundingClientRect();
    return { text: text.firstChild.data, left, right, top, bottom };
  });
  const cut = words.filter(({ left, right }) => left < frame.left - 1 || right > frame.right + 1);
  const touching = words.filter((a, at) => words.some((b, other) => other > at &&
    a.left < b.right && b.left < a.right && a.top < b.bottom - 3 && b.top < a.bottom - 3));
  return [...cut, ...touching].map(({ text }) => text);
})`;

Deno.test("no word of the charts is cut off or covers another", async () => {
  await using root = await plainRoot();
  const { serve, base } = await pageOf(root);
  await using _stop = serve;
  await using page = await openPage(`${base}/`);
  await page.until(DRAWN);
  for (const spanS of [60, 3600, 86_400, 40 * 86_400]) {
    await page.evaluate(`clearTimeout(timer); paused = true;
      latest.now = Date.UTC(2026, 10, 26, 12);
      latest.history = Array.from({ length: 50 }, (_, n) => ({
        time: latest.now - ${spanS} * 1000 * (1 - n / 49),
        memory: 90 * n, disk: 5, shared: 1, model: 3 }));
      latest.latency = ["memory", "disk", "shared", "model"].map((layer, n) => (
        { layer, p50: 10 ** (n - 4), p99: n === 3 ? null : 10 ** (n - 3), count: 12345678 }));
      latest.snapshots_possible = true;
      latest.snapshots = latest.history.map(({ time }, n) => (
        { name: "s" + n, target: n % 2 ? "cache" : "a-very-long-target", time }));`);
    for (const width of [320, 360, 768, 1280]) {
      await page.show(width, 800, "light");
      await page.evaluate("draw()");
      assertEquals(await page.evaluate(CROWDED), [], `${width} px, ${spanS} s`);
    }
  }
  assertEquals(page.said, []);
});

/** The least contrast of the page's texts with what they stand on, by WCAG 2.1, 1.4.3. */
const LEAST_CONTRAST = `(() => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((c) => c / 255)
      .map((c) => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4);
    return .2126 * x + .7152 * y + .0722 * z;
  };
  const back = rgb(getComputedStyle(document.body).backgroundColor);
  const under = (node) => {
    for (; node; node = node.parentElement) {
      const colour = rgb(getComputedStyle(node).backgroundColor);
      if (colour.length === 3) return colour;
    }
    return back;
  };
  let least = 99;
  for (const node of document.querySelectorAll("h1, h2, p, dt, dd, small, th, td, a, code, #status, .pill")) {
    const inMain = node.closest("main");
    const opacity = inMain ? Number(getComputedStyle(inMain).opacity) : 1;
    const seen = (colour) => colour.slice(0, 3).map((c, i) => c * opacity + back[i] * (1 - opacity));
    const [a, b] = [seen(rgb(getComputedStyle(node).color)), seen(under(node))].map(light);
    least = Math.min(least, (Math.max(a, b) + .05) / (Math.min(a, b) + .05));
  }
  return least;
})()`;

Deno.test("the page fits narrow and wide windows, light and dark, and says when nobody answers", async () => {
  await using root = await plainRoot();
  const { serve, base } = await pageOf(root);
  await using page = await openPage(`${base}/`);
  await page.until(DRAWN);
  assertIncludes(
    await page.evaluate("document.querySelector('#hits').textContent"),
    "Nothing was asked for yet",
  );
  const colours = new Set<string>();
  for (const width of [320, 768, 1280]) {
    for (const scheme of ["light", "dark"] as const) {
      await page.show(width, 800, scheme);
      const wider =
        "document.documentElement.scrollWidth - document.documentElement.clientWidth";
      assertEquals(await page.evaluate(wider), 0, `${width}`);
      // No column of the schedule is out of sight.
      const hidden = wider.replaceAll(
        "document.documentElement",
        `document.querySelector("#jobs .body")`,
      );
      assertEquals(await page.evaluate(hidden), 0, `${width}`);
      const contrast = await page.evaluate(LEAST_CONTRAST);
      assertTrue(contrast >= 4.5, `${scheme}: ${contrast}`);
      colours.add(await page.evaluate("getComputedStyle(document.body).backgroundColor"));
      assertTrue((await page.screenshot()).length > 10_000);
    }
  }
  assertEquals(colours.size, 2);
  assertEquals(await serve.stop(), 0);
  await page.evaluate("void refresh()");
  await page.until(`document.querySelector("#status").className === "bad"`);
  assertIncludes(
    await page.evaluate("document.querySelector('#status').textContent"),
    "does not answer (no connection)",
  );
  for (const scheme of ["light", "dark"] as const) {
    await page.show(320, 800, scheme);
    const contrast = await page.evaluate(LEAST_CONTRAST);
    assertTrue(contrast >= 4.5, `${scheme}, nobody answers: ${contrast}`);
  }
});
