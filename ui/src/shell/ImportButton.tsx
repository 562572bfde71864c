import { Import } from "lucide-react";
import { lazy, Suspense, useState } from "react";

const ImportDialog = lazy(() => import("./ImportDialog"));

interface ImportButtonProps {
  readonly bridgeId?: string;
  readonly className?: string;
  readonly label?: string;
}

/** Opens the list of Claude Code's own sessions. */
export function ImportButton({ bridgeId, className = "button small", label = "Import from Claude Code" }: ImportButtonProps) {
  const [isOpen, setOpen] = useState(false);
  return (
    <>
      <button type="button" className={className} onClick={() => setOpen(true)}>
        <Import aria-hidden />
        <span>{label}</span>
      </button>
      {isOpen && <Suspense fallback={null}><ImportDialog bridgeId={bridgeId ?? null} onClose={() => setOpen(false)} /></Suspense>}
    </>
  );
}
