import { Paperclip } from "lucide-react";

import { bytes } from "../app/format";
import { showHidden } from "../text/clean";
import type { Attachment } from "../wire/types";

const SHOWN = /^image\/(png|jpeg|gif|webp)$/;

export function Attachments({ attachments }: { readonly attachments: readonly Attachment[] }) {
  if (attachments.length === 0) return null;
  return (
    <ul className="attachments">
      {attachments.map((attachment) => (
        <li key={attachment.id}>
          {SHOWN.test(attachment.mimeType) ? (
            <a href={attachment.url} target="_blank" rel="noreferrer">
              <img src={attachment.url} alt={attachment.filename} loading="lazy" height={160} />
            </a>
          ) : (
            <a href={attachment.url} download className="chip">
              <Paperclip aria-hidden />
              <span>{showHidden(attachment.filename)}</span>
              <span className="facts">{bytes(attachment.sizeBytes)}</span>
            </a>
          )}
        </li>
      ))}
    </ul>
  );
}
