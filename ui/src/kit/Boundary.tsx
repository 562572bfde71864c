import { Component, type ReactNode } from "react";

interface BoundaryProps {
  /** What stands in the place of what could not be shown. */
  readonly instead: ReactNode;
  readonly children: ReactNode;
}

/** Keeps a mistake of one part from taking the whole page along. (React has this for class components only.) */
export class Boundary extends Component<BoundaryProps, { readonly hasFailed: boolean }> {
  override state = { hasFailed: false };

  static getDerivedStateFromError(): { readonly hasFailed: boolean } {
    return { hasFailed: true };
  }

  override render(): ReactNode {
    return this.state.hasFailed ? this.props.instead : this.props.children;
  }
}
