/** A root with plugins in it, for tests of desired state. */
import { Layout } from "../../lib/base/layout.ts";
import type { RecordedAction } from "../../lib/base/recorder.ts";
import { initRoot } from "../../lib/base/root.ts";
import { apply, type ApplyOptions } from "../../lib/state/apply.ts";
import { Buses } from "../../lib/state/buses.ts";
import { diff } from "../../lib/state/diff.ts";
import type { Change, Desired, Plan } from "../../lib/state/model.ts";
import { loadPlugins, type StatePlugin } from "../../lib/state/plugins.ts";
import { query } from "../../lib/state/query.ts";
import { tempFolder } from "./scratch.ts";

/** The plugins that op-dbus ships. */
export const EXAMPLES =
  new URL("../../examples/op-dbus-plugins/", import.meta.url).pathname;

/** A plugin.toml of a name; more lines go into its [plugin] table. */
export function manifest(name: string, more = ""): string {
  return `[plugin]\nname = "${name}"\nversion = "1.0.0"\nauthor = "test"\n${more}`;
}

/** A root, its plugins, and connections to a private bus instead of the host's. */
export class StateRoot implements AsyncDisposable {
  readonly recorded: RecordedAction[] = [];
  #buses: Buses;

  private constructor(
    readonly layout: Layout,
    readonly address: string,
    private readonly folder: AsyncDisposable,
  ) {
    this.#buses = this.#connectLater();
  }

  /**
   * @param address of the bus that plugins reach as "system"
   * @param examples names of shipped plugins
   * @param mappings more plugins: name to mapping
   */
  static async make(
    address: string,
    examples: readonly string[],
    mappings: Readonly<Record<string, string>> = {},
  ): Promise<StateRoot> {
    const folder = await tempFolder("op-dbus-state-");
    const root = new StateRoot(new Layout(folder.path), address, folder);
    initRoot({ root: folder.path, plain: true });
    for (const name of examples) {
      for (const file of ["plugin.toml", "semantic-mapping.toml"]) {
        await root.put(name, file, await Deno.readTextFile(`${EXAMPLES}${name}/${file}`));
      }
    }
    for (const [name, mapping] of Object.entries(mappings)) {
      await root.put(name, "plugin.toml", manifest(name));
      await root.put(name, "semantic-mapping.toml", mapping);
    }
    return root;
  }

  async put(plugin: string, file: string, text: string): Promise<void> {
    await Deno.mkdir(this.layout.plugin(plugin), { recursive: true });
    await Deno.writeTextFile(`${this.layout.plugin(plugin)}/${file}`, text);
  }

  #connectLater(): Buses {
    const env = (name: string) =>
      name.startsWith("DBUS_") ? this.address : Deno.env.get(name);
    return new Buses({ env, timeoutMs: 10_000 });
  }

  get buses(): Buses {
    return this.#buses;
  }

  get plugins(): readonly StatePlugin[] {
    return loadPlugins(this.layout).plugins;
  }

  get options(): ApplyOptions {
    return {
      layout: this.layout,
      ...loadPlugins(this.layout),
      buses: this.buses,
      file: "state.json",
      confirm: () => Promise.resolve(false),
      recorder: {
        record: (action) => {
          this.recorded.push(action);
          return Promise.resolve();
        },
      },
    };
  }

  apply(desired: Desired, more: Partial<ApplyOptions> = {}) {
    return apply({ desired }, { ...this.options, ...more });
  }

  diff(desired: Desired, maxAgeMs = 0): Promise<Plan> {
    return diff(desired, { ...this.options, maxAgeMs });
  }

  /** The present state of one plugin, read now. */
  async state(plugin: string) {
    const plugins = this.plugins.filter(({ name }) => name === plugin);
    const [found] = await query(plugins, { ...this.options, maxAgeMs: 0 });
    if (found!.error) throw found!.error;
    // deno-lint-ignore no-explicit-any
    return found!.states as Readonly<Record<string, any>>;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#buses[Symbol.asyncDispose]();
    await this.folder[Symbol.asyncDispose]();
  }
}

/** A change in short: sign and name. */
export function signs(changes: readonly Change[]): string[] {
  const sign = { create: "+", modify: "~", delete: "-", unknown: "?" };
  return changes.map(({ action, id }) => `${sign[action]} ${id}`);
}
