import { ChevronDown } from "lucide-react";

import { Menu, MenuChoices, type Choice } from "./Menu";

interface PickerProps {
  /** What is chosen here, for people who cannot see the icon. */
  readonly label: string;
  readonly value: string;
  readonly choices: readonly Choice[];
  readonly onChange: (value: string) => void;
  readonly icon?: React.ReactNode;
  readonly shown?: string | undefined;
  readonly isLoud?: boolean;
}

/** One value of a few. */
export function Picker({ label, value, choices, onChange, icon, shown, isLoud = false }: PickerProps) {
  const text = shown ?? choices.find((choice) => choice.value === value)?.label ?? value;
  return (
    <Menu
      trigger={
        <button type="button" className="picker" data-loud={isLoud} aria-label={`${label}: ${text}`} title={label}>
          {icon}
          <span>{text}</span>
          <ChevronDown aria-hidden className="chevron" />
        </button>
      }
    >
      <MenuChoices label={label} value={value} choices={choices} onChange={onChange} />
    </Menu>
  );
}
