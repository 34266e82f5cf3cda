/** op-dbus plugin create */
import { command } from "./command.ts";
import { argument, textFlag } from "./flags.ts";
import { openState, TIMEOUT } from "./state_place.ts";

interface CreateFlags {
  readonly fromDbus: string;
  readonly bus?: string;
  readonly path?: string;
  readonly interface?: string;
  readonly author?: string;
  readonly timeout?: number;
}

/** `op-dbus plugin create` */
export const create = command<CreateFlags, [string]>({
  brief: "Make a plugin from what a D-Bus service says of itself",
  description:
    "Writes plugin.toml, semantic-mapping.toml, introspection.xml, README.md and an example\n" +
    "made from the present state. Methods are unsafe unless their name, types and\n" +
    "annotations show that they only read. Run again, it keeps every edit of yours.",
  examples: [
    "op-dbus plugin create lxc --from-dbus org.freedesktop.lxc",
    "op-dbus plugin create machine --from-dbus org.freedesktop.machine1",
    "op-dbus plugin create player --from-dbus org.mpris.MediaPlayer2.vlc --bus session",
  ],
  flags: {
    fromDbus: { ...textFlag("The service's bus name", "SERVICE"), optional: false },
    bus: textFlag("system, session or an address (system)", "BUS"),
    path: textFlag("Object path (found by itself)", "PATH"),
    interface: textFlag("Only this interface", "NAME"),
    author: textFlag("Author in plugin.toml", "TEXT"),
    timeout: TIMEOUT,
  },
  positional: { kind: "tuple", parameters: [argument("Plugin", "NAME")] },
  async run(context, flags, name) {
    const { createPlugin } = await import("../state/create.ts");
    const { fromDbus, bus, path, author } = flags;
    const { buses } = await openState(context, flags.timeout);
    const made = await createPlugin(name, {
      layout: context.layout,
      buses,
      service: fromDbus,
      signal: context.signal,
      ...(bus !== undefined && { bus }),
      ...(path !== undefined && { path }),
      ...(flags.interface !== undefined && { interface: flags.interface }),
      ...(author !== undefined && { author }),
    });
    const { report, left, exampleProblem } = made;
    if (exampleProblem !== null) context.out.note(`No new example: ${exampleProblem}`);
    context.out.result({ name, ...made }, () => {
      const changes = made.created ? [] : [
        ...report.added.map((table) => `  added: ${table}`),
        ...report.updated.map((table) => `  updated: ${table}`),
        ...report.removed.map((table) => `  removed: ${table} (gone from the service)`),
        ...report.conflicts.map((table) =>
          `  look at: ${table} (yours was kept, but the service has changed it)`
        ),
        ...left.map((file) => `  kept: ${file} (edited by you)`),
      ];
      return [
        `${made.created ? "Made" : "Made again"}: ${made.folder}`,
        `${made.methods} methods, ${made.safe} safe; ${made.states.length} states proposed`,
        ...changes,
        `Look through ${made.folder}/semantic-mapping.toml, then: op-dbus query --plugin ${name}`,
      ].join("\n");
    });
  },
});
