/** Run by the kill sweeps: `snapshot_child.ts OPERATION ROOT PLACE [SSH_CONFIG COMMAND]`. */
import { resolveConfig } from "../../lib/base/config.ts";
import { Layout } from "../../lib/base/layout.ts";
import { listFound } from "../../lib/snapshot/found.ts";
import { parsePolicy } from "../../lib/snapshot/policy.ts";
import { receiveSnapshot } from "../../lib/snapshot/receive.ts";
import { folderReplica } from "../../lib/snapshot/replica_folder.ts";
import { sshReplica } from "../../lib/snapshot/replica_ssh.ts";
import { replicate } from "../../lib/snapshot/replicate.ts";
import { restore } from "../../lib/snapshot/restore.ts";
import { rotate } from "../../lib/snapshot/rotate.ts";
import { sendToFile } from "../../lib/snapshot/send_file.ts";
import { findTarget } from "../../lib/snapshot/target.ts";

const [operation, root, place, sshConfig, command] = Deno.args as [
  ...[string, string, string],
  string?,
  string?,
];
const target = findTarget(new Layout(root), resolveConfig({}), "state");
const policy = parsePolicy("keep_last=4");

switch (operation) {
  case "rotate":
    await rotate(target, policy);
    break;
  case "restore":
    await restore(target, place);
    break;
  case "receive":
    await receiveSnapshot(place, { file: `${root}/stream` });
    break;
  case "ssh":
  case "replicate": {
    const replica = operation === "replicate" ? folderReplica(place) : await sshReplica(
      place,
      {
        program: ["ssh", "-F", sshConfig!],
        remote: command === "btrfs" ? "btrfs" : "op-dbus",
        command: [command!],
      },
    );
    const { outcomes } = await replicate(target, [replica], {
      policy,
      remotePolicy: policy,
    });
    if (outcomes[0]?.error) throw outcomes[0].error;
    break;
  }
  case "file":
    await sendToFile(listFound(target).at(-1)!.path, place, { force: true });
    break;
  default:
    throw new TypeError(operation);
}
