/** Headless Chromium, driven over the DevTools protocol. */
import { dirname } from "node:path";
import { tempFolder } from "../support/scratch.ts";

/** A page in a browser of the test's own. */
export interface Page extends AsyncDisposable {
  /** What an expression gives in the page. */
  // deno-lint-ignore no-explicit-any
  evaluate(expression: string): Promise<any>;
  /** Waits until an expression is true there. */
  until(expression: string): Promise<void>;
  /** Presses a key as a keyboard does. */
  press(key: string, options?: { shift?: boolean }): Promise<void>;
  /** Another window size, light or dark. */
  show(width: number, height: number, scheme: "light" | "dark"): Promise<void>;
  /** A PNG of the whole page. */
  screenshot(): Promise<Uint8Array>;
  /** What the page said on its console, and its exceptions. */
  readonly said: readonly string[];
}

/** Virtual key codes of keys that are no letters. */
const CODES: Readonly<Record<string, number>> = {
  Tab: 9,
  Enter: 13,
  Escape: 27,
  " ": 32,
  End: 35,
  Home: 36,
  ArrowLeft: 37,
  ArrowRight: 39,
};

/** Opens a page. */
export async function openPage(url: string): Promise<Page> {
  const profile = await tempFolder("op-dbus-chromium-");
  const child = new Deno.Command("chromium", {
    args: [
      ...["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"],
      ...[`--user-data-dir=${profile.path}`, "about:blank"],
    ],
    env: { HOME: profile.path },
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const log = child.stderr.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  while (!/listening on ws:\S+/.test(text)) {
    const { value, done } = await log.read();
    if (done) throw new Error(`Chromium ended: ${text}`);
    text += value;
  }
  const draining = (async () => {
    while (!(await log.read()).done);
  })();
  const { origin } = new URL(/listening on (ws:\S+)/.exec(text)![1]!);
  const list = await (await fetch(`${origin.replace("ws:", "http:")}/json/list`)).json();
  const target = list.find((one: { type: string }) => one.type === "page");
  const session = await connect(target.webSocketDebuggerUrl);
  await session.send("Page.enable");
  await session.send("Runtime.enable");
  await session.send("Page.navigate", { url });
  return {
    ...controls(session),
    async [Symbol.asyncDispose]() {
      await session.close();
      // Chromium keeps a socket in a temporary folder of its own, and leaves it there.
      const socket = await Deno.readLink(`${profile.path}/SingletonSocket`);
      child.kill("SIGTERM");
      await child.status;
      await draining;
      await Deno.remove(dirname(socket), { recursive: true }).catch(ignoreMissing);
      await profile[Symbol.asyncDispose]();
    },
  };
}

function ignoreMissing(error: unknown): void {
  if (!(error instanceof Deno.errors.NotFound)) throw error;
}

type Session = Awaited<ReturnType<typeof connect>>;

/** A DevTools session. */
async function connect(url: string) {
  const socket = new WebSocket(url);
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onerror = () => reject(new Error(`Cannot connect to ${url}`));
  });
  // deno-lint-ignore no-explicit-any
  const waiting = new Map<number, (message: any) => void>();
  const said: string[] = [];
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    waiting.get(message.id)?.(message);
    waiting.delete(message.id);
    const { method, params } = message;
    if (method === "Runtime.consoleAPICalled" || method === "Runtime.exceptionThrown") {
      said.push(JSON.stringify(params));
    }
  };
  let id = 0;
  // deno-lint-ignore no-explicit-any
  const send = async (method: string, params: object = {}): Promise<any> => {
    const mine = ++id;
    // deno-lint-ignore no-explicit-any
    const { promise, resolve } = Promise.withResolvers<any>();
    waiting.set(mine, resolve);
    socket.send(JSON.stringify({ id: mine, method, params }));
    const { result, error } = await promise;
    if (error) throw new Error(`${method}: ${error.message}`);
    return result;
  };
  const close = () =>
    new Promise((resolve) => {
      socket.onclose = resolve;
      socket.close();
    });
  return { send, said, close };
}

function controls(session: Session) {
  const { send, said } = session;
  const evaluate = async (expression: string) => {
    const options = { expression, returnByValue: true, awaitPromise: true };
    const { result, exceptionDetails } = await send("Runtime.evaluate", options);
    if (exceptionDetails) throw new Error(JSON.stringify(exceptionDetails));
    return result.value;
  };
  return {
    said,
    evaluate,
    async until(expression: string) {
      while (!await evaluate(expression)) {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    },
    async press(key: string, { shift = false } = {}) {
      const windowsVirtualKeyCode = CODES[key] ?? key.toUpperCase().charCodeAt(0);
      const event = { key, windowsVirtualKeyCode, modifiers: shift ? 8 : 0 };
      const text = key === "Enter" ? "\r" : key.length === 1 ? key : undefined;
      await send("Input.dispatchKeyEvent", {
        type: text === undefined ? "rawKeyDown" : "keyDown",
        ...event,
        ...(text !== undefined && { text }),
      });
      await send("Input.dispatchKeyEvent", { type: "keyUp", ...event });
    },
    async show(width: number, height: number, scheme: "light" | "dark") {
      await send("Emulation.setDeviceMetricsOverride", {
        width,
        height,
        deviceScaleFactor: 1,
        mobile: false,
      });
      await send("Emulation.setEmulatedMedia", {
        features: [{ name: "prefers-color-scheme", value: scheme }],
      });
    },
    async screenshot() {
      const { cssContentSize: size } = await send("Page.getLayoutMetrics");
      const { data } = await send("Page.captureScreenshot", {
        captureBeyondViewport: true,
        clip: { x: 0, y: 0, width: size.width, height: size.height, scale: 1 },
      });
      return Uint8Array.fromBase64(data);
    },
  };
}
