/** A message bus of the test's own, and programs that call it. */
const POLICY = new URL("../../packaging/dbus/org.opdbus1.conf", import.meta.url).pathname;

/** The configuration of a bus of the test's own, with our policy file in force. */
async function busConfig(folder: string): Promise<string> {
  const config = `${folder}/bus.conf`;
  await Deno.writeTextFile(
    config,
    `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path=${folder}/bus.sock</listen>
<policy context="default"><allow user="*"/><deny own="*"/><deny send_type="method_call"/>
<allow send_type="signal"/><allow send_requested_reply="true" send_type="method_return"/>
<allow send_requested_reply="true" send_type="error"/><allow receive_type="method_call"/>
<allow receive_type="method_return"/><allow receive_type="error"/><allow receive_type="signal"/>
<allow send_destination="org.freedesktop.DBus"/></policy>
<policy user="root"><allow send_destination="org.freedesktop.DBus"
 send_interface="org.freedesktop.DBus.Monitoring"/></policy>
<include>${POLICY}</include></busconfig>`,
  );
  return config;
}

/** Starts that bus. */
export async function privateBus(folder: string) {
  const config = await busConfig(folder);
  const child = new Deno.Command("dbus-daemon", {
    args: [`--config-file=${config}`, "--nofork", "--nopidfile", "--print-address"],
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const reader = child.stdout.getReader();
  await reader.read(); // the address: it listens
  return {
    address: `unix:path=${folder}/bus.sock`,
    async [Symbol.asyncDispose]() {
      child.kill("SIGTERM");
      await reader.cancel();
      await child.status;
    },
  };
}

/** Runs a program to its end. */
export async function run(command: string, args: string[], env: Record<string, string>) {
  const out = await new Deno.Command(command, { args, env }).output();
  const text = new TextDecoder();
  return {
    code: out.code,
    stdout: text.decode(out.stdout),
    stderr: text.decode(out.stderr),
  };
}
