import { Layout } from "../../lib/base/layout.ts";
import { ChainRecorder } from "../../lib/chain/recorder.ts";
import { assertEquals, assertIncludes, assertTrue } from "../support/assert.ts";
import { plainRoot } from "../support/cli_root.ts";
import { tempFolder } from "../support/scratch.ts";
import { startServe } from "./serve_process.ts";

/** The page as headless Chromium has it after its script ran. */
async function pageIn(url: string): Promise<{ dom: string; log: string }> {
  await using profile = await tempFolder("op-dbus-chromium-");
  const { stdout, stderr } = await new Deno.Command("chromium", {
    args: [
      ...["--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"],
      ...[`--user-data-dir=${profile.path}`, "--virtual-time-budget=3000", "--dump-dom"],
      url,
    ],
    env: { HOME: profile.path },
  }).output();
  const text = new TextDecoder();
  return { dom: text.decode(stdout), log: text.decode(stderr) };
}

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
    const { dom, log } = await pageIn(`${base}/`);
    assertEquals(log.split("\n").filter((line) => line.includes("CONSOLE")), []);
    assertIncludes(dom, "<title>op-dbus</title>");
    assertIncludes(dom, /<dt>Texts answered<\/dt><dd>3<\/dd>/);
    assertIncludes(dom, /<dt>Chain height<\/dt><dd>2<\/dd>/);
    assertIncludes(dom, "&lt;script&gt;document.title='owned'&lt;/script&gt;");
    assertIncludes(dom, "&lt;b&gt;alice&lt;/b&gt;");
    assertIncludes(dom, "model (computed)");
    assertTrue(!/(?:src|href)="(?:https?:)?\/\//.test(dom), "nothing from elsewhere");
    const page = await fetch(`${base}/`);
    await page.body?.cancel();
    assertIncludes(page.headers.get("content-security-policy")!, "default-src 'none'");
  } finally {
    assertEquals(await serve.stop(), 0);
  }
});
