import { useCallback, useEffect, useRef, useState } from "react";

import { useActions } from "../state";
import type { Attachment } from "../wire/types";

export interface Upload {
  readonly key: number;
  readonly name: string;
  readonly size: number;
  /** 0 to 1. */
  readonly progress: number;
  readonly attachment: Attachment | null;
  readonly problem: string | null;
}

export interface Uploads {
  readonly uploads: readonly Upload[];
  readonly isBusy: boolean;
  readonly add: (files: Iterable<File>) => void;
  readonly remove: (key: number) => void;
  /** The ids to send; afterwards the list is empty. */
  readonly take: () => readonly string[];
}

/** Files on their way to the server, from the moment that they were dropped. */
export function useUploads(): Uploads {
  const { upload } = useActions();
  const [uploads, setUploads] = useState<readonly Upload[]>([]);
  const lastKey = useRef(0);
  const stops = useRef(new Map<number, AbortController>());
  useEffect(() => {
    const running = stops.current;
    return () => running.forEach((stop) => stop.abort());
  }, []);

  const change = useCallback((key: number, changed: Partial<Upload>) => {
    setUploads((now) => now.map((one) => (one.key === key ? { ...one, ...changed } : one)));
  }, []);

  const add = useCallback(
    (files: Iterable<File>) => {
      for (const file of files) {
        lastKey.current += 1;
        const key = lastKey.current;
        const stop = new AbortController();
        stops.current.set(key, stop);
        const name = file.name || "pasted";
        setUploads((now) => [...now, { key, name, size: file.size, progress: 0, attachment: null, problem: null }]);
        void upload(file, name, (sent, total) => change(key, { progress: total > 0 ? sent / total : 0 }), stop.signal).then((answer) => {
          stops.current.delete(key);
          change(key, answer.ok ? { attachment: answer.attachment, progress: 1 } : { problem: answer.error.message });
        });
      }
    },
    [upload, change],
  );

  const remove = useCallback((key: number) => {
    stops.current.get(key)?.abort();
    setUploads((now) => now.filter((one) => one.key !== key));
  }, []);

  const take = () => {
    setUploads([]);
    return uploads.flatMap((one) => (one.attachment === null ? [] : [one.attachment.id]));
  };
  return { uploads, isBusy: uploads.some((one) => one.attachment === null && one.problem === null), add, remove, take };
}
