/// <reference types="vite/client" />

/** The version of the server that this page was built with. */
declare const __BATON_VERSION__: string;
