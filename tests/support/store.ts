/** The misbehaving service of tests/state/peers, and a root with its mapping. */
import { Bus } from "../../lib/dbus/bus.ts";
import type { Json } from "../../lib/dbus/value.ts";
import { type PrivateBus, privateBus, PYTHON } from "./private_bus.ts";
import { StateRoot } from "./state_root.ts";

const PEER = new URL("../state/peers/store.py", import.meta.url).pathname;

const setter = (x: string) => `
[methods.set_${x.toLowerCase()}]
dbus_method = "Set${x}"
args = [{ name = "value", type = "s" }]
timeout = "300ms"
[state.${x.toLowerCase()}]
kind = "value"
read = { property = "${x}" }
write = { method = "set_${x.toLowerCase()}" }
`;

/** Its mapping; `extra` goes into `[state.items]`. */
export function storeMapping(extra = ""): string {
  return `[service]
bus = "system"
name = "org.test.Store"
path = "/org/test/Store"
interface = "org.test.Store"
[methods.get_items]
safe = true
[methods.add_item]
args = [{ name = "item", type = "s" }]
ok_errors = ["ALREADY"]
[methods.remove_item]
args = [{ name = "item", type = "s" }]
${["A", "B", "C"].map(setter).join("")}
[state.n]
kind = "value"
type = "t"
read = { property = "N" }
write = { property = "N" }
[state.items]
kind = "set"
read = { method = "get_items" }
add = { method = "add_item", item = ["item"] }
remove = { method = "remove_item", item = ["item"] }
${extra}
`;
}

/** A running store. */
export interface Store extends AsyncDisposable {
  readonly bus: PrivateBus;
  readonly root: StateRoot;
  /** Makes the next call of a method misbehave. */
  arm(method: string, mode: string): Promise<void>;
  /** Answers the calls that wait. */
  release(): Promise<void>;
  /** Every changing call so far. */
  log(): Promise<readonly string[]>;
  /** Starts the service again after it died. */
  restart(): Promise<void>;
}

/** Starts the service on a bus of its own. */
export async function startStore(mapping = storeMapping()): Promise<Store> {
  const bus = await privateBus();
  await bus.start("org.test.Store", PYTHON, PEER);
  const root = await StateRoot.make(bus.address, [], { store: mapping });
  const call = async (member: string, signature: string, args: Json[]) => {
    await using own = await Bus.connect(bus.address);
    const to = { path: "/org/test/Store", interface: "org.test.Store", member };
    const reply = await own.call({
      destination: "org.test.Store",
      ...to,
      signature,
      args,
    });
    return reply.values[0];
  };
  return {
    bus,
    root,
    async arm(method, mode) {
      await call("Arm", "ss", [method, mode]);
    },
    async release() {
      await call("Release", "", []);
    },
    async log() {
      return await call("GetLog", "", []) as string[];
    },
    async restart() {
      await bus.start("org.test.Store", PYTHON, PEER);
    },
    async [Symbol.asyncDispose]() {
      await root[Symbol.asyncDispose]();
      await bus[Symbol.asyncDispose]();
    },
  };
}
