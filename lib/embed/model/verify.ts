/** Whether a kept model is still what was added. */
import { OpError } from "../../base/errors.ts";
import { hashFile } from "./hash.ts";
import type { ModelRecord } from "./record.ts";

/**
 * Compares a kept model's files with their record.
 *
 * @throws {OpError} naming the first file that is not what was added
 */
export async function verifyModel(
  record: ModelRecord,
  folder: string,
  signal?: AbortSignal,
): Promise<void> {
  for (const file of record.files) {
    const { sha256, size_bytes } = await hashFile(`${folder}/${file.path}`, signal);
    if (sha256 === file.sha256 && size_bytes === file.size_bytes) continue;
    throw new OpError(
      "damaged_model",
      `The model ${record.name} is damaged: ${file.path} is not what was added`,
      { hint: "add or pull the model again with --force" },
    );
  }
}
