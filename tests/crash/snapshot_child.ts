/** Run by snapshot_kill_test.ts, which kills it: `snapshot_child.ts OPERATION ROOT PLACE`. */
import { resolveConfig } from "../../lib/base/config.ts";
import { Layout } from "../../lib/base/layout.ts";
import { listFound } from "../../lib/snapshot/found.ts";
import { parsePolicy } from "../../lib/snapshot/policy.ts";
import { folderReplica } from "../../lib/snapshot/replica_folder.ts";
import { replicate } from "../../lib/snapshot/replicate.ts";
import { restore } from "../../lib/snapshot/restore.ts";
import { rotate } from "../../lib/snapshot/rotate.ts";
import { sendToFile } from "../../lib/snapshot/send_file.ts";
import { findTarget } from "../../lib/snapshot/target.ts";

const [operation, root, place] = Deno.args as [string, string, string];
const target = findTarget(new Layout(root), resolveConfig({}), "state");
const policy = parsePolicy("keep_last=4");

switch (operation) {
  case "rotate":
    await rotate(target, policy);
    break;
  case "restore":
    await restore(target, place);
    break;
  case "replicate": {
    const { outcomes } = await replicate(target, [folderReplica(place)], {
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
