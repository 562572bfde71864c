import { CircleAlert, LoaderCircle, Paperclip, X } from "lucide-react";

import { bytes } from "../app/format";
import type { Upload } from "./useUploads";

export function UploadList({ uploads, onRemove }: { readonly uploads: readonly Upload[]; readonly onRemove: (key: number) => void }) {
  if (uploads.length === 0) return null;
  return (
    <ul className="uploads" aria-label="Attachments">
      {uploads.map((one) => (
        <li key={one.key} className="chip" data-bad={one.problem !== null}>
          {one.problem !== null ? <CircleAlert aria-hidden /> : one.attachment === null ? <LoaderCircle aria-hidden className="spin" /> : <Paperclip aria-hidden />}
          <span className="chip-name">{one.name}</span>
          <span className="facts" role="status">{one.problem ?? (one.attachment === null ? `${Math.round(one.progress * 100)} %` : bytes(one.size))}</span>
          <button type="button" className="icon-button small" aria-label={`Remove ${one.name}`} onClick={() => onRemove(one.key)}><X aria-hidden /></button>
        </li>
      ))}
    </ul>
  );
}
