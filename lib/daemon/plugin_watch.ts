/** Notices plugins that appear, change or go while the service runs (inotify). */
import { asOpError } from "../base/errors.ts";
import type { Layout } from "../base/layout.ts";
import { discover } from "../plugin/discovery.ts";
import { pluginsOf } from "./overview.ts";

/** Changes under the root come in bursts: one look for all of them. */
const SETTLE_MS = 200;

/** What a watch tells. */
export interface PluginWatchEvents {
  /** The plugins are no longer what they were. */
  readonly onChange: (plugins: ReturnType<typeof pluginsOf>) => void;
  /** A folder cannot be watched: only {@link PluginWatch.look} sees its changes. */
  readonly onBlind: (why: string) => void;
}

/** Watches the root and the folder of each plugin: a manifest may come after its folder. */
export class PluginWatch implements Disposable {
  readonly #watchers = new Map<string, Deno.FsWatcher>();
  #known = "";
  #timer: ReturnType<typeof setTimeout> | undefined;
  #closed = false;

  constructor(readonly layout: Layout, readonly events: PluginWatchEvents) {
    this.#watch(layout.root);
    this.#known = JSON.stringify(this.#plugins());
  }

  #plugins() {
    const found = discover(this.layout);
    const folders = new Set(found.map(({ folder }) => folder));
    for (const [folder, watcher] of this.#watchers) {
      if (folder === this.layout.root || folders.has(folder)) continue;
      this.#watchers.delete(folder);
      watcher.close();
    }
    for (const folder of folders) {
      if (!this.#watchers.has(folder)) this.#watch(folder);
    }
    return pluginsOf(this.layout, found);
  }

  #watch(folder: string): void {
    try {
      const watcher = Deno.watchFs(folder, { recursive: false });
      this.#watchers.set(folder, watcher);
      void this.#follow(watcher);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return; // gone since it was listed
      this.events.onBlind(asOpError(error, `Cannot watch ${folder}`).message);
    }
  }

  async #follow(watcher: Deno.FsWatcher): Promise<void> {
    for await (const event of watcher) {
      if (event.kind === "access") continue; // our own look
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#lookAgain(), SETTLE_MS);
    }
  }

  #lookAgain(): void {
    try {
      this.look();
    } catch (error) { // the root cannot be read now: what was known stays
      this.events.onBlind(asOpError(error, "Cannot look for plugins").message);
    }
  }

  /** Looks now. @throws {SysError} when the root cannot be read */
  look(): void {
    if (this.#closed) return;
    const plugins = this.#plugins();
    const now = JSON.stringify(plugins);
    if (now === this.#known) return;
    this.#known = now;
    this.events.onChange(plugins);
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    for (const watcher of this.#watchers.values()) watcher.close();
    this.#watchers.clear();
  }
}
